"""The notebooks run from top to bottom on a snapshot as the graph writes it, and are kept without outputs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

import feature_store
from orchestration.lib.snapshots import write_snapshot
from orchestration.runtime.home import PROJECT_ROOT

NOTEBOOKS = sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb"))
# What the last cell of each comes to, on the small history of the tests.
FOUND = {
    "build_a_feature": "): it ",
    "explain_a_contact": "best hour: ",
    "explore_the_warehouse": "nothing sent in 90 days",
    "measure_a_campaign": "Campaign 1: +0.0% buyers",
    "train_and_compare": "beyond chance better than as shipped: ",
}
DRAWN = {"build_a_feature": 1, "explain_a_contact": 2, "explore_the_warehouse": 1, "measure_a_campaign": 1,
         "train_and_compare": 1}  # fmt: skip
LIBRARIES = {"__future__", "dataclasses", "datetime", "matplotlib", "numpy", "os", "polars"}
OURS = ("feature_store.", "training.")


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def kernel(history, tmp_path_factory) -> Iterator[KernelManager]:
    """One for all notebooks, in turn: its libraries take longer to load than most notebooks to run."""
    folder = tmp_path_factory.mktemp("notebooks")
    snapshot = write_snapshot(history.warehouse, str(history.ours), folder / "ours.duckdb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPPORT_SNAPSHOT", str(snapshot.path))
        patch.setenv("PYTHONPATH", str(PROJECT_ROOT))
        patch.setenv("IPYTHONDIR", str(folder))
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(cwd=str(folder))
    yield manager
    manager.shutdown_kernel(now=True)


def test_every_one_is_looked_at():
    assert [path.stem for path in NOTEBOOKS] == sorted(FOUND)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_runs(self, path, kernel):
        notebook = nbformat.read(path, as_version=4)
        # What an earlier notebook has left would hide that a name is missing in this one.
        notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))

        ran = NotebookClient(notebook, km=kernel, timeout=120).execute()

        outputs = [cell.outputs for cell in ran.cells if cell.cell_type == "code"]
        shown = "".join(out.get("text", "") or out["data"]["text/plain"] for out in outputs[-1] if "name" not in out
                        or out["name"] == "stdout")  # fmt: skip
        assert FOUND[path.stem] in shown
        assert not [out["text"] for cell in outputs for out in cell if out.get("name") == "stderr"]
        drawn = [out for cell in outputs for out in cell if "image/png" in out.get("data", {})]
        assert len(drawn) == DRAWN[path.stem]

    def test_holds_no_outputs(self, path):
        assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(path))

    def test_takes_only_what_the_packages_offer(self, path):
        for cell in code_cells(path):
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Import):
                    assert {alias.name.split(".")[0] for alias in node.names} <= LIBRARIES
                elif isinstance(node, ast.ImportFrom):
                    names = {alias.name for alias in node.names}
                    if node.module == "feature_store":
                        assert names <= set(feature_store.__all__)
                    elif str(node.module).startswith(OURS):
                        assert all(not name.startswith("_") for name in names)
                        assert all(hasattr(import_module(str(node.module)), name) for name in names)
                    else:
                        assert str(node.module).split(".")[0] in LIBRARIES
