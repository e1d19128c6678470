"""Column by column: the SQL that makes a value of ours of what a SELECT gave, and the SQL that says why it cannot."""

from __future__ import annotations

from serving.importing.canonical import Column

EARLIEST = "TIMESTAMPTZ '1970-01-02 00:00:00+00'"
LONGEST_ID = 200
LARGEST_CENTS = 10**15
WITH_ZONE = r"([Zz]|[+-]\d\d(:?\d\d)?)$"


class UnusableColumn(Exception):
    """A column whose type can never give the values wanted."""


def cast(column: Column, duck_type: str) -> tuple[str, str]:
    """(value, problem) as DuckDB expressions over the column; `problem` is null where the value is good."""
    name = quoted(column.name)
    kind = column.kind
    if isinstance(kind, tuple):
        words = ", ".join(f"'{word}'" for word in kind)
        value = f"lower(trim(CAST({name} AS VARCHAR)))"
        value = f"nullif({value}, '')"
        problem = f"WHEN {value} IS NOT NULL AND {value} NOT IN ({words}) THEN 'not one of {', '.join(kind)}'"
    elif kind == "time":
        value, problem = _time(name, duck_type)
    elif kind in ("cents", "integer", "number"):
        value, problem = _number(name, kind)
    elif kind == "tags":
        value, problem = _members(name, duck_type)
    else:
        value = f"nullif(trim(CAST({name} AS VARCHAR)), '')" if kind != "text" else f"CAST({name} AS VARCHAR)"
        problem = f"WHEN contains({value}, chr(0)) THEN 'holds a NUL character'"
        if kind in ("id", "phone") or column.refers_to:
            problem += f" WHEN length({value}) > {LONGEST_ID} THEN 'longer than {LONGEST_ID} characters'"
        elif kind == "currency":
            value = f"upper({value})"
            problem = f"WHEN NOT regexp_full_match({value}, '[A-Z]{{3}}') THEN 'not a currency code of three letters'"
        elif kind == "zone":
            problem = f"WHEN {value} NOT IN (SELECT name FROM pg_timezone_names()) THEN 'no such time zone'"
    missing = f"WHEN {value} IS NULL THEN 'missing' " if column.required else ""
    return value, f"CASE {problem} {missing}END"


def cast_attribute(name: str, kind: str, duck_type: str) -> tuple[str, str]:
    """As `cast`, for a typed fact of the business's own: number, category, set or boolean."""
    column = quoted(name)
    if kind == "number":
        value, problem = _number(column, "number")
    elif kind == "boolean":
        value = f"TRY_CAST({column} AS BOOLEAN)"
        problem = f"WHEN {column} IS NOT NULL AND {value} IS NULL THEN 'not true or false'"
    elif kind == "set":
        value, problem = _members(column, duck_type)
    else:
        value = f"nullif(trim(CAST({column} AS VARCHAR)), '')"
        problem = f"WHEN contains({value}, chr(0)) THEN 'holds a NUL character'"
    return value, f"CASE {problem} END"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _time(name: str, duck_type: str) -> tuple[str, str]:
    if duck_type == "TIMESTAMP WITH TIME ZONE":
        value = name
    elif duck_type.startswith("TIMESTAMP") or duck_type == "DATE":
        value = f"timezone(getvariable('mapping_zone'), CAST({name} AS TIMESTAMP))"
    elif duck_type in ("VARCHAR", '"NULL"'):
        text = f"trim(CAST({name} AS VARCHAR))"
        value = (
            f"CASE WHEN regexp_matches({text}, '{WITH_ZONE}') AND contains({text}, ':')"
            f" THEN TRY_CAST({text} AS TIMESTAMPTZ)"
            f" ELSE timezone(getvariable('mapping_zone'), TRY_CAST({text} AS TIMESTAMP)) END"
        )
    else:
        raise UnusableColumn(
            f"a time is expected, not {duck_type}; seconds since 1970 become one with to_timestamp(...)"
        )
    problem = (
        f"WHEN {name} IS NOT NULL AND nullif(trim(CAST({name} AS VARCHAR)), '') IS NOT NULL AND ({value}) IS NULL"
        f" THEN 'not a time' WHEN ({value}) > getvariable('import_now') THEN 'in the future'"
        f" WHEN ({value}) < {EARLIEST} THEN 'before 1970-01-02'"
    )
    return f"({value})", problem


def _number(name: str, kind: str) -> tuple[str, str]:
    value = f"TRY_CAST({name} AS DOUBLE)"
    given = f"nullif(trim(CAST({name} AS VARCHAR)), '') IS NOT NULL"
    problem = (
        f"WHEN {given} AND {value} IS NULL THEN 'not a number' WHEN NOT isfinite({value}) THEN 'not a finite number'"
    )
    if kind == "number":
        return value, problem
    whole = "not a whole number of cents" if kind == "cents" else "not a whole number"
    largest = LARGEST_CENTS if kind == "cents" else 2**31 - 1
    problem += f" WHEN {value} <> round({value}) THEN '{whole}' WHEN {value} < 0 THEN 'negative'"
    problem += f" WHEN {value} > {largest} THEN 'too large'"
    return f"TRY_CAST({name} AS BIGINT)", problem


def _members(name: str, duck_type: str) -> tuple[str, str]:
    if duck_type.endswith("[]"):
        members = f"CAST({name} AS VARCHAR[])"
    elif duck_type == "VARCHAR":
        members = f"string_split({name}, ',')"
    else:
        raise UnusableColumn(f"a list, or text with commas, is expected, not {duck_type}")
    value = f"list_filter(list_transform({members}, lambda x: trim(x)), lambda x: x <> '')"
    return value, f"WHEN contains(array_to_string({value}, ''), chr(0)) THEN 'holds a NUL character'"
