"""Heavy packages of later steps, imported while an earlier step waits for a database or for dbt."""

from __future__ import annotations

import importlib
import logging
import threading

TO_JUDGE = ("great_expectations",)
TO_TRAIN = ("mlflow", "xgboost", "sklearn.ensemble", "sklearn.linear_model", "onnxmltools", "skl2onnx", "onnxruntime")


def import_ahead(packages: tuple[str, ...]) -> threading.Thread:
    """Begins the imports on a thread of their own, which is returned; whoever needs a package imports it as ever, and
    waits then for what is left. One that cannot be imported fails there, not here."""

    def perform() -> None:
        for package in packages:
            try:
                importlib.import_module(package)
            except Exception:
                logging.getLogger(__name__).debug("%s cannot be imported ahead", package, exc_info=True)

    thread = threading.Thread(target=perform, name="imports ahead", daemon=True)
    thread.start()
    return thread
