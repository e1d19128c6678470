"""Learns engagement once for each point of POINTS, as a tenant of that name with a champion, and kills itself there.

`python -m tests.training.killed_trainings TRACKING_URI FOLDER`: one tenant's bundles below FOLDER/<point>.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import mlflow.onnx  # noqa: F401 - once for all that are killed
import sklearn.linear_model  # noqa: F401

from training import cycle, promote, registry
from training.datasets import split_by_time
from training.metrics import Interval
from training.promote import Verdict
from training.registry import Registry
from training.settings import TrainingSettings
from training.synthetic import synthetic_dataset

START = datetime(2026, 1, 5, tzinfo=UTC)
# The call before which the process dies: the module that looks it up, and its name.
POINTS = {
    "the-model-is-logged": (registry, "_log_model"),
    "the-bundle-is-written": (cycle, "write_bundle"),
    "the-bundle-is-registered": (registry, "log_bundle"),
    "the-champion-is-named": (promote.mlflow_registry, "set_alias"),
}


def main(tracking_uri: str, folder: Path) -> None:
    for point, (module, name) in POINTS.items():
        # Nothing was computed yet: the threads of polars and onnxruntime would not survive a fork.
        child = os.fork()
        if child == 0:
            learn_twice(Registry(tracking_uri, point), folder / point, partial(die_before, module, name))
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, point


def learn_twice(registry: Registry, bundles: Path, between: Callable[[], None]) -> None:
    split = split_by_time(synthetic_dataset("engagement", 300, 6, seed=11, start=START)[0])
    trained = cycle.train(split, seed=1, now=START)
    evaluation = cycle.evaluate(trained, split, seed=1)
    cycle.train = lambda *_, **__: trained
    cycle.evaluate = lambda *_, **__: evaluation
    # A copy of the champion would not be promoted.
    cycle.judge = lambda *_, **__: Verdict(True, "rule", Interval(0.1, 0.05, 0.15), "made to pass")
    settings = TrainingSettings(tracking_uri=registry.tracking_uri, bundles_dir=bundles)
    cycle.learn_from(split, registry, settings, seed=1, now=START)
    between()
    cycle.learn_from(split, registry, settings, seed=1, now=START)


def die_before(module: Any, name: str) -> None:
    """This process is killed when the function is called; `set_alias` when it names a champion."""
    called = getattr(module, name)

    def dies(*given: Any, **named: Any) -> Any:
        if name != "set_alias" or given[2] == "champion":
            os.kill(os.getpid(), signal.SIGKILL)
        return called(*given, **named)

    setattr(module, name, dies)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
