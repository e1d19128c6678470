"""The dbt project as the graph sees it: its manifest, parsed anew only when a file of the project changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from feature_store.warehouse import DuckDBWarehouse, warehouse_at
from orchestration.lib.rebuilding import building
from orchestration.runtime.home import PROJECT_ROOT, Home, write_atomically

PROJECT = PROJECT_ROOT / "dbt_project"
SOURCES = (".sql", ".yml", ".yaml", ".md", ".csv")
# Which rows come in: under other contracts everything is built anew.
CONTRACTS = PROJECT_ROOT / "orchestration" / "defs" / "ingest" / "contracts.py"


_one_parses = threading.Lock()


class DbtProjectInvalid(Exception):
    """dbt cannot parse the project; the text is what dbt said."""


def dbt_environment(home: Home) -> dict[str, str]:
    """Where dbt finds its profile and leaves what it makes, for every call of it."""
    return {
        "DBT_PROFILES_DIR": str(PROJECT),
        "DBT_TARGET_PATH": str(home.path / "dbt" / "target"),
        "DBT_LOG_PATH": str(home.logs),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }


def parsing_environment(home: Home) -> dict[str, str]:
    """What `dbt parse` needs besides: the place that builds work in. dbt parses all anew for a profile that names
    another place than at the last parsing."""
    warehouse = warehouse_at(os.environ.get("FEATURE_STORE_WAREHOUSE", home.warehouse))
    place = building(warehouse) if isinstance(warehouse, DuckDBWarehouse) else warehouse
    return dbt_environment(home) | place.dbt_environment()


def variables(digest: str) -> list[str]:
    """The options that tell dbt which state of the project it builds, and that a failed test holds only its tenants."""
    return ["--vars", json.dumps({"project_digest": digest, "failed_test_severity": "warn"})]


def dbt_executable() -> str:
    return str(Path(sys.executable).with_name("dbt"))


def parse_ahead() -> None:
    """Begins to parse after a change, while this process imports what it needs; `manifest_path` waits for it."""

    def perform() -> None:
        with contextlib.suppress(DbtProjectInvalid):  # said to whoever asks for the path
            manifest_path()

    threading.Thread(target=perform, name="parsing ahead", daemon=True).start()


def manifest_path() -> Path:
    """The path of a manifest of the project as it is now; parses (ten seconds) after a change. Raises
    DbtProjectInvalid."""
    with _one_parses:
        return _manifest_path()


@lru_cache
def _manifest_path() -> Path:
    home = Home.from_environment()
    target = home.path / "dbt" / "target"
    manifest, stamp = target / "manifest.json", target / "parsed-from"
    digest = project_digest()
    if manifest.exists() and stamp.exists() and stamp.read_text() == digest:
        return manifest
    target.mkdir(parents=True, exist_ok=True)
    home.warehouse.parent.mkdir(parents=True, exist_ok=True)
    command = [dbt_executable(), "parse", "--project-dir", str(PROJECT), "--quiet", *variables(digest)]
    done = subprocess.run(command, env=os.environ | parsing_environment(home), capture_output=True, text=True)
    if done.returncode != 0:
        raise DbtProjectInvalid((done.stdout + done.stderr).strip() or "dbt parse failed")
    write_atomically(stamp, digest)
    return manifest


def published_marts() -> list[str]:
    """The marts whose `meta.published` is true, by name: those the product reads."""
    return sorted(name for _, name, meta in _models() if meta.get("published") is True)


def models_of(*layers: str) -> list[list[str]]:
    """The asset keys, layer and name, of the models of these layers."""
    return sorted([layer, name] for layer, name, _ in _models() if layer in layers)


def _models() -> list[tuple[str, str, dict[str, Any]]]:
    nodes = json.loads(manifest_path().read_text())["nodes"].values()
    return [
        (node["fqn"][1], node["name"], node["config"].get("meta", {}))
        for node in nodes
        if node["resource_type"] == "model"
    ]


def project_digest() -> str:
    """Tells one state of the project's files, and of the contracts of what it builds from, from every other."""
    digest = hashlib.sha256()
    for file in sorted(path for path in PROJECT.rglob("*") if path.suffix in SOURCES and "target" not in path.parts):
        digest.update(str(file.relative_to(PROJECT)).encode() + file.read_bytes())
    digest.update(CONTRACTS.read_bytes())
    return digest.hexdigest()
