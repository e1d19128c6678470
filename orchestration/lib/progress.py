"""Tells whoever started a run which step it is at, without reading the run's log."""

import logging
from collections.abc import Callable

import dagster as dg

Listener = Callable[[str, str], None]
listeners: list[Listener] = []


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", None) or {}
        event, step = meta.get("dagster_event"), meta.get("step_key")
        kind = getattr(event, "event_type_value", "")
        if step and kind in ("STEP_START", "STEP_SUCCESS", "STEP_FAILURE"):
            for listener in listeners:
                listener(str(step), str(kind))


@dg.logger
def progress(_context: dg.InitLoggerContext) -> logging.Logger:
    """Calls the process's listeners with (step, what happened); prints nothing."""
    logger = logging.getLogger("rapport.progress")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    if not logger.handlers:
        logger.addHandler(_Handler())
    return logger
