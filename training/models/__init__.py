"""The models of a tenant: one file each, all offering the names of `ModelDefinition`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from training.errors import UnknownModel

if TYPE_CHECKING:
    from training.models.definition import ModelDefinition

MODEL_NAMES = ("lead_scoring", "churn", "engagement")


def model_named(model: str) -> ModelDefinition:
    """The definition in `training/models/<model>.py`. Raises UnknownModel."""
    if model not in MODEL_NAMES:
        raise UnknownModel(model)
    return cast("ModelDefinition", import_module(f"training.models.{model}").MODEL)
