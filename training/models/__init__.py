"""The models of a tenant: one file each, all offering the names of `ModelDefinition`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from training.errors import UnknownModel

if TYPE_CHECKING:
    from training.models.churn import Windows
    from training.models.definition import ModelDefinition

MODEL_NAMES = ("lead_scoring", "churn", "engagement")


def model_named(model: str, churn_windows: Windows | None = None) -> ModelDefinition:
    """The definition in `training/models/<model>.py`, of churn with the tenant's own windows where it set any. Raises
    UnknownModel."""
    if model not in MODEL_NAMES:
        raise UnknownModel(model)
    file = import_module(f"training.models.{model}")
    return cast(
        "ModelDefinition", file.with_windows(churn_windows) if model == "churn" and churn_windows else file.MODEL
    )
