"""Rebuilding the warehouse beside itself: readers and the next run see the last good one until the new one is whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feature_store.warehouse import DuckDBWarehouse, Warehouse

# Linux's request to share the blocks of a file until one of the two changes (btrfs, xfs, bcachefs, overlay on them).
FICLONE = 0x40049409


@contextmanager
def rebuilt(warehouse: Warehouse, *, from_nothing: bool = False) -> Iterator[Warehouse]:
    """Where to build. In DuckDB that is a copy of the warehouse (an empty one when `from_nothing`), which takes its
    place when the block ends well; after an error, or a kill, the warehouse is what it was. PostgreSQL is built in
    place: what people read was published from it and waits for the next publication.

    The environment names the place for dbt meanwhile.
    """
    if not isinstance(warehouse, DuckDBWarehouse):
        with _environment(warehouse.dbt_environment()):
            yield warehouse
        return
    copy = building(warehouse)
    _remove(copy.path)
    try:
        if warehouse.path.exists() and not from_nothing:
            copy_file(warehouse.path, copy.path)
        with _environment(copy.dbt_environment()):
            yield copy
        with copy.connect(read_only=False) as connection:
            connection.execute("CHECKPOINT")  # what is in the log beside the file would stay behind
        _flush(copy.path)
    except BaseException:
        _remove(copy.path)
        raise
    os.replace(copy.path, warehouse.path)
    _remove(_log_of(warehouse.path))
    _flush(warehouse.path.parent)


def building(warehouse: DuckDBWarehouse) -> DuckDBWarehouse:
    """The copy that a build of this warehouse works in; it reads the same raw rows."""
    return DuckDBWarehouse(warehouse.path.with_name(f"{warehouse.path.stem}.building.duckdb"))


def remove_unfinished(warehouse: DuckDBWarehouse) -> None:
    """Removes what a killed build left beside the warehouse. The caller is the only writer."""
    _remove(building(warehouse).path)
    shutil.rmtree(warehouse.path.with_name("raw.tmp"), ignore_errors=True)


def copy_file(source: Path, target: Path) -> None:
    """Makes `target` a copy that shares its blocks with `source` where the file system can, else a plain one."""
    with source.open("rb") as read, target.open("wb") as written:
        try:
            fcntl.ioctl(written, FICLONE, read.fileno())
            return
        except OSError:
            pass  # another file system, or one that shares no blocks
    shutil.copyfile(source, target)


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.wal")


def _remove(file: Path) -> None:
    for one in (file, _log_of(file)):
        one.unlink(missing_ok=True)
    # A killed build leaves what it had spilled there.
    shutil.rmtree(file.with_name(f"{file.name}.tmp"), ignore_errors=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            with contextlib.suppress(KeyError):
                del os.environ[name]
            if value is not None:
                os.environ[name] = value
