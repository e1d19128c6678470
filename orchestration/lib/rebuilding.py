"""Rebuilding the warehouse beside itself: readers and the next run see the last good one until the new one is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feature_store.warehouse import DuckDBWarehouse

WAREHOUSE = "FEATURE_STORE_WAREHOUSE"


@contextmanager
def rebuilt(warehouse: DuckDBWarehouse) -> Iterator[Path]:
    """A copy of the warehouse to build in, named by FEATURE_STORE_WAREHOUSE meanwhile. It takes the warehouse's place
    when the block ends well; after an error, or a kill, the warehouse is what it was."""
    copy = warehouse.path.with_name(f"{warehouse.path.stem}.building.duckdb")
    for left_over in (copy, copy.with_name(f"{copy.name}.wal")):
        left_over.unlink(missing_ok=True)
    with warehouse.connect(read_only=False) as connection:
        connection.execute("CHECKPOINT")  # a killed writer may have left rows in the log beside the file
    shutil.copyfile(warehouse.path, copy)
    before = os.environ.get(WAREHOUSE)
    os.environ[WAREHOUSE] = str(copy)
    try:
        yield copy
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    finally:
        if before is None:
            del os.environ[WAREHOUSE]
        else:
            os.environ[WAREHOUSE] = before
    os.replace(copy, warehouse.path)
