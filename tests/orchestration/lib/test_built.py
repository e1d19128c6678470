"""Whose part of a build is sound."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from feature_store.warehouse import DuckDBWarehouse
from orchestration.lib.built import ClaimBroken, TenantHeld, held_tenants, require_sound


@pytest.fixture
def built(tmp_path: Path):
    """A warehouse in which these tests failed: (test, tenant, rows)."""

    def built(*failed: tuple[str, str | None, int]) -> DuckDBWarehouse:
        warehouse = DuckDBWarehouse(tmp_path / "warehouse.duckdb")
        with duckdb.connect(str(warehouse.path)) as connection:
            connection.execute("CREATE SCHEMA staging")
            connection.execute("CREATE TABLE staging._failed_tests (test text, tenant_id text, row_count bigint)")
            for row in failed:
                connection.execute("INSERT INTO staging._failed_tests VALUES (?, ?, ?)", row)
        return warehouse

    return built


def test_a_tenant_is_held_for_each_test_its_rows_failed(built):
    warehouse = built(("b_is_so", "theirs", 2), ("a_is_so", "theirs", 1), ("a_is_so", "others", 3))
    assert held_tenants(warehouse) == {
        "theirs": "a_is_so failed (1 row); b_is_so failed (2 rows)",
        "others": "a_is_so failed (3 rows)",
    }
    require_sound(warehouse, "ours")
    with pytest.raises(TenantHeld, match="a_is_so failed"):
        require_sound(warehouse, "theirs")


def test_a_failure_that_is_no_tenants_is_everybodys(built):
    warehouse = built(("a_is_so", "theirs", 1), ("b_is_so", None, 4))
    with pytest.raises(ClaimBroken, match=r"b_is_so failed \(4 rows\)"):
        held_tenants(warehouse)
    with pytest.raises(ClaimBroken):
        require_sound(warehouse, "ours")


def test_nothing_was_built_yet(tmp_path: Path):
    assert held_tenants(DuckDBWarehouse(tmp_path / "warehouse.duckdb")) == {}
