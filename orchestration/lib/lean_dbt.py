"""dagster-dbt's resource without what this project never asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

from dagster_dbt import DbtCliResource
from packaging.version import Version


class LeanDbt(DbtCliResource):
    """Each build would start `dbt --version` (two seconds) to learn what the environment knows, and set up a database
    adapter in this process, which only column metadata needs."""

    @cached_property
    def _cli_version(self) -> Version:
        return Version(version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:
        return None
