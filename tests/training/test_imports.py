from __future__ import annotations

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
