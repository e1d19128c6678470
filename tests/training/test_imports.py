from __future__ import annotations

import os
import subprocess
import sys


class TestImports:
    def test_importing_training_loads_no_heavy_library(self) -> None:
        code = (
            "import sys, training.cycle, training.score, training.synthetic\n"
            "heavy = {'mlflow', 'xgboost', 'sklearn', 'onnx', 'onnxruntime', 'matplotlib', 'duckdb'}\n"
            "print(sorted(heavy & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    def test_mlflow_tells_nobody_what_is_trained_here(self) -> None:
        script = (
            "import training.registry; from mlflow.telemetry.utils import is_telemetry_disabled;"
            "print(is_telemetry_disabled())"
        )
        # MLflow is silent under tests and in CI by itself.
        told = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        done = subprocess.run([sys.executable, "-c", script], env=told, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "True"
