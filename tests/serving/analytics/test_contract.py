"""The routes and dbt agree on the marts' columns: what the tests publish, dbt declares."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import yaml

PROJECT = Path(__file__).parents[3] / "dbt_project" / "models" / "marts"
TYPES = {
    "text": pa.string(), "bigint": pa.int64(), "integer": pa.int64(), "double precision": pa.float64(),
    "boolean": pa.bool_(), "date": pa.date32(),
}  # fmt: skip


@pytest.fixture(scope="module")
def declared() -> dict[str, dict]:
    """dbt's models by name."""
    files = [yaml.safe_load(path.read_text()) or {} for path in PROJECT.rglob("*.yml")]
    return {model["name"]: model for file in files for model in file.get("models", [])}


class TestColumns:
    def test_of_every_mart_the_routes_read_are_declared_and_published_by_dbt(self, tables, declared):
        for name, table in tables.items():
            model = declared[name]
            assert model["config"]["meta"]["published"] is True, name
            types = {column["name"]: column["data_type"] for column in model["columns"]}
            assert set(table.column_names) - set(types) == set(), name
            for field in table.schema:
                expected = TYPES.get(types[field.name])
                if expected is None:
                    assert types[field.name] == "timestamptz"
                    assert pa.types.is_timestamp(field.type) or pa.types.is_null(field.type)
                elif not pa.types.is_null(field.type):
                    assert field.type == expected, (name, field.name)

    def test_are_all_that_publishing_can_take(self, declared):
        from serving.publication.columns import column_types

        arrow = TYPES | {"timestamptz": pa.timestamp("us", "UTC")}
        for name, model in declared.items():
            if model["config"]["meta"].get("published"):
                schema = pa.schema([(column["name"], arrow[column["data_type"]]) for column in model["columns"]])
                assert column_types(name, schema)["tenant_id"] == "uuid"
