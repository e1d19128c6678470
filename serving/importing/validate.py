"""Reads every table of a mapping and sorts its rows, set by set, into valid rows, exact duplicates and rejects.

For a table T the connection holds afterwards `raw_T` (what the SELECT gave, numbered by `_row`), `valid_T` and
`rejected_T` (`_row`, `reason`). Nothing is written anywhere else.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from functools import partial

import duckdb
import pyarrow as pa

from gateway.types import PhoneNumber
from serving.importing.canonical import TABLES, Canonical
from serving.importing.casts import UnusableColumn, cast, cast_attribute, quoted
from serving.importing.mapping import MappingFile
from serving.importing.sources import reason_of

PHONES_AT_ONCE = 50_000
EMPTY = {
    "time": "TIMESTAMPTZ", "cents": "BIGINT", "integer": "BIGINT", "number": "DOUBLE", "tags": "VARCHAR[]",
}  # fmt: skip

# Of the external ids given, those of rows the tenant holds already: a table (external_id, id) for one of our tables.
LookUp = Callable[[str, list[str]], pa.Table]


def validate(connection: duckdb.DuckDBPyConnection, mapping: MappingFile, namespace: str, look_up: LookUp) -> None:
    """Fills raw_T, valid_T and rejected_T for every table of the mapping. `namespace` makes ids and synthetic phones.

    Raises: ImportRefused for a SELECT that fails or gives the wrong columns, naming its line.
    """
    connection.execute(
        "CREATE MACRO as_version_8(h) AS substr(h, 1, 12) || '8' || substr(h, 14, 3) || '8' || substr(h, 18)"
    )
    connection.execute("CREATE TABLE aliases (name VARCHAR, derived VARCHAR, actual VARCHAR)")
    for name, table in TABLES.items():
        if name not in mapping.model.tables:
            continue
        try:
            _read(connection, mapping, table)
            _cast(connection, mapping, table)
            if name == "contacts":
                _phones(connection, mapping, namespace)
            _duplicates(connection, table)
            _references(connection, mapping, table, look_up)
        except duckdb.Error as error:
            raise mapping.error(("tables", name, "select"), reason_of(error)) from error
        except UnusableColumn as error:
            raise mapping.error(("tables", name, "select"), str(error)) from error


def derived_id(table: str, external_id: str) -> str:
    """SQL for the id of a row: 32 hex digits of a version 8 UUID, the same for the same tenant, source, table and
    external id, so that a second run finds what the first one wrote."""
    digest = f"md5(getvariable('import_namespace') || chr(31) || '{table}' || chr(31) || {external_id})"
    return f"as_version_8({digest})"


def row_id(namespace: str, table: str, external_id: str) -> uuid.UUID:
    """What `derived_id` gives, for one row."""
    digest = hashlib.md5(f"{namespace}\x1f{table}\x1f{external_id}".encode(), usedforsecurity=False).hexdigest()
    return uuid.UUID(f"{digest[:12]}8{digest[13:16]}8{digest[17:]}")


def _read(connection: duckdb.DuckDBPyConnection, mapping: MappingFile, table: Canonical) -> None:
    select = mapping.model.tables[table.name].select
    key = ("tables", table.name, "select")
    statements = connection.extract_statements(select)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise mapping.error(key, "must be one SELECT")
    select = statements[0].query.strip().rstrip(";")
    connection.execute(f"CREATE TABLE raw_{table.name} AS SELECT row_number() OVER () AS _row, * FROM (\n{select}\n)")
    given = set(_types(connection, f"raw_{table.name}")) - {"_row"}
    attributes = mapping.model.tables[table.name].attributes
    missing = [column.name for column in table.columns if column.required and column.name not in given]
    missing += [attribute for attribute in attributes if attribute not in given]
    if missing:
        raise mapping.error(key, f"gives no column {', '.join(missing)}; it gives {', '.join(sorted(given))}")
    known = {column.name for column in table.columns} | set(attributes)
    if given - known:
        more = "; declare facts of your own under attributes" if table.attributes else ""
        raise mapping.error(key, f"gives unknown columns {', '.join(sorted(given - known))}{more}")


def _cast(connection: duckdb.DuckDBPyConnection, mapping: MappingFile, table: Canonical) -> None:
    types = _types(connection, f"raw_{table.name}")
    values, problems, given = [], [], []
    for column in table.columns:
        if column.name not in types:
            values.append(f"CAST(NULL AS {EMPTY.get(str(column.kind), 'VARCHAR')}) AS {column.name}")
            continue
        value, problem = _naming(column.name, partial(cast, column, types[column.name]))
        values.append(f"{value} AS {column.name}")
        problems.append(f"'{column.name}: ' || ({problem})")
        if column.name != "external_id":
            given.append(column.name)
    if table.attributes:
        facts = []
        for name, kind in mapping.model.tables[table.name].attributes.items():
            value, problem = _naming(name, partial(cast_attribute, name, kind, types[name]))
            facts.append(f"{quoted(name)} := {value}")
            problems.append(f"'{name}: ' || ({problem})")
        packed = f"CAST(to_json(struct_pack({', '.join(facts)})) AS VARCHAR)" if facts else "'{}'"
        values.append(f"{packed} AS attributes")
        given.append("attributes")
    key = _key(table, "external_id" in types, given)
    connection.execute(
        f"CREATE TABLE cast_{table.name} AS SELECT *, {key} AS _key, hash({', '.join(given)}) AS _content FROM ("
        f"SELECT _row, {', '.join(values)}, coalesce({', '.join(problems)}) AS _reason FROM raw_{table.name})"
    )


def _key(table: Canonical, has_id: bool, given: list[str]) -> str:
    """What makes two rows the same row: the external id, else everything the row says."""
    if table.name == "statuses":
        return "message || chr(31) || status"
    content = ", ".join(f"coalesce(CAST({name} AS VARCHAR), chr(30))" for name in given)
    everything = f"md5(concat_ws(chr(31), {content}))"
    return f"coalesce(external_id, {everything})" if has_id else everything


def _phones(connection: duckdb.DuckDBPyConnection, mapping: MappingFile, namespace: str) -> None:
    synthetic = mapping.model.tables["contacts"].phone == "synthetic"
    column = "external_id" if synthetic else "phone"
    connection.execute("CREATE TABLE phones (given VARCHAR, phone VARCHAR, problem VARCHAR)")
    distinct = connection.cursor().execute(f"SELECT DISTINCT {column} FROM cast_contacts WHERE {column} IS NOT NULL")
    while rows := distinct.fetchmany(PHONES_AT_ONCE):
        given = [row[0] for row in rows]
        if synthetic:
            phones = [PhoneNumber.synthetic(key, namespace).e164 for key in given]
            parsed = pa.table({"given": given, "phone": phones, "problem": pa.nulls(len(given), pa.string())})
        else:
            found = PhoneNumber.parse_many(given, mapping.model.default_region)
            good = [number.e164 if isinstance(number, PhoneNumber) else None for number in found]
            bad = [None if isinstance(number, PhoneNumber) else f"phone: {number}" for number in found]
            parsed = pa.table(
                {"given": given, "phone": pa.array(good, pa.string()), "problem": pa.array(bad, pa.string())}
            )
        connection.register("parsed_phones", parsed)
        connection.execute("INSERT INTO phones SELECT given, phone, problem FROM parsed_phones")
        connection.unregister("parsed_phones")
    connection.execute(
        "UPDATE cast_contacts SET phone = phones.phone, _reason = coalesce(_reason, phones.problem),"
        f" _content = hash(_content, phones.phone) FROM phones WHERE cast_contacts.{column} = phones.given"
    )


def _duplicates(connection: duckdb.DuckDBPyConnection, table: Canonical) -> None:
    """Exact repeats of a row are counted and left out. Of two statements of one status the earlier holds; of two
    versions of anything else nobody knows which, so neither is loaded."""
    name = table.name
    first = "(occurred_at, _row)" if name == "statuses" else "_row"
    same = "c._content = twice.content" if name == "statuses" else "twice.versions = 1"
    left_out = "c._row <> twice.kept" if name == "statuses" else "(c._row <> twice.kept OR twice.versions > 1)"
    reason = (
        "status: repeats an earlier one of this message"
        if name == "statuses"
        else "external_id: twice with different content"
    )
    connection.execute(
        f"CREATE TABLE rejected_{name} AS SELECT _row, _reason AS reason FROM cast_{name} WHERE _reason IS NOT NULL"
    )
    connection.execute(
        f"CREATE OR REPLACE TABLE twice AS WITH good AS (FROM cast_{name} WHERE _reason IS NULL),"
        " keys AS (SELECT _key FROM good GROUP BY _key HAVING count(*) > 1)"
        f" SELECT _key, arg_min(_row, {first}) AS kept, arg_min(_content, {first}) AS content,"
        " count(DISTINCT _content) AS versions FROM good SEMI JOIN keys USING (_key) GROUP BY _key"
    )
    connection.execute(
        f"CREATE TABLE repeated_{name} AS SELECT c._row, {same} AS exact FROM cast_{name} AS c JOIN twice USING (_key)"
        f" WHERE c._reason IS NULL AND {left_out}"
    )
    connection.execute(f"INSERT INTO rejected_{name} SELECT _row, '{reason}' FROM repeated_{name} WHERE NOT exact")
    connection.execute(
        f"CREATE TABLE valid_{name} AS SELECT * EXCLUDE (_reason, _content) FROM cast_{name} WHERE _reason IS NULL"
        f" AND _row NOT IN (SELECT _row FROM repeated_{name})"
    )
    connection.execute(f"DROP TABLE cast_{name}")
    if name == "contacts":
        shared = (
            "SELECT _row FROM valid_contacts WHERE phone IS NOT NULL"
            " QUALIFY row_number() OVER (PARTITION BY phone ORDER BY external_id) > 1"
        )
        _reject(connection, name, "phone: another contact of this history has it", shared)


def _references(connection: duckdb.DuckDBPyConnection, mapping: MappingFile, table: Canonical, look_up: LookUp) -> None:
    for column in table.columns:
        target = column.refers_to
        if target is None:
            continue
        here = (
            f"SELECT external_id FROM valid_{target}" if target in mapping.model.tables else "SELECT NULL WHERE false"
        )
        unresolved = (
            f"SELECT DISTINCT {column.name} AS external_id FROM valid_{table.name} WHERE {column.name} IS NOT NULL"
            f" AND NOT EXISTS (FROM ({here}) AS h (external_id) WHERE h.external_id = {column.name})"
        )
        connection.execute(f"CREATE OR REPLACE TABLE unresolved AS {unresolved}")
        connection.execute("CREATE OR REPLACE TABLE found (external_id VARCHAR, id VARCHAR)")
        wanted = connection.cursor().execute("SELECT external_id FROM unresolved")
        while rows := wanted.fetchmany(PHONES_AT_ONCE):
            connection.register("looked_up", look_up(target, [row[0] for row in rows]))
            connection.execute("INSERT INTO found SELECT external_id, id FROM looked_up")
            connection.unregister("looked_up")
        connection.execute(
            f"INSERT INTO aliases SELECT '{target}', {derived_id(target, 'external_id')}, id FROM found"
            f" WHERE id <> {derived_id(target, 'external_id')}"
        )
        _reject(
            connection,
            table.name,
            f"{column.name}: no such {target.removesuffix('s')}",
            f"SELECT _row FROM valid_{table.name} WHERE {column.name} IN (FROM unresolved) AND {column.name} NOT IN"
            " (SELECT external_id FROM found)",
        )


def _reject(connection: duckdb.DuckDBPyConnection, name: str, reason: str, rows: str) -> None:
    connection.execute(f"CREATE OR REPLACE TABLE refused AS {rows}")
    connection.execute(f"INSERT INTO rejected_{name} SELECT _row, '{reason}' FROM refused")
    connection.execute(f"DELETE FROM valid_{name} WHERE _row IN (SELECT _row FROM refused)")


def _types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {table}").fetchall()}


def _naming(name: str, make: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    try:
        return make()
    except UnusableColumn as error:
        raise UnusableColumn(f"{name}: {error}") from error
