"""The notebooks run from top to bottom on a snapshot as the graph writes it, and are kept without outputs."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import feature_store
from orchestration.lib.snapshots import write_snapshot
from orchestration.runtime.home import PROJECT_ROOT

NOTEBOOKS = sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb"))


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_there_is_one():
    assert [path.name for path in NOTEBOOKS] == ["explore_the_warehouse.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_runs(self, path, history, tmp_path, monkeypatch):
        snapshot = write_snapshot(history.warehouse, str(history.ours), tmp_path / "ours.duckdb")
        monkeypatch.setenv("RAPPORT_SNAPSHOT", str(snapshot.path))
        monkeypatch.setenv("PYTHONPATH", str(PROJECT_ROOT))
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path))

        ran = NotebookClient(nbformat.read(path, as_version=4), timeout=120, kernel_name="python3").execute()

        last = [cell for cell in ran.cells if cell.cell_type == "code"][-1]
        shown = last.outputs[0]["data"]["text/plain"]
        assert "half or more" in shown
        assert "nothing sent in 90 days" in shown

    def test_holds_no_outputs(self, path):
        assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(path))

    def test_takes_only_what_the_packages_offer_at_the_top(self, path):
        for cell in code_cells(path):
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.ImportFrom) and node.module == "feature_store":
                    assert {alias.name for alias in node.names} <= set(feature_store.__all__)
                elif isinstance(node, ast.ImportFrom):
                    assert node.module == "matplotlib"
