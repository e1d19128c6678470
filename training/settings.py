"""Settings of training, prefix `TRAINING_`. Read when a process or resource is built, never on import."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class TrainingSettings(BaseSettings):
    """Where experiments and bundles are kept, and how much evidence a model needs.

    `artifacts_dir` is used with a `sqlite:///` tracking URI only (default: `artifacts` beside the database file); a
    tracking server places artifacts itself.
    """

    model_config = SettingsConfigDict(env_prefix="TRAINING_", frozen=True, extra="ignore")

    tracking_uri: str = "sqlite:///.rapport/mlflow/mlflow.db"
    artifacts_dir: Path | None = None
    bundles_dir: Path = Path(".rapport/bundles")
    max_rows: int = 100_000
    min_labels_per_class: int = 50
    test_share: float = 0.25
    min_auc_gain: float = 0.0
    max_calibration_error: float = 0.05
    threads: int = 2
