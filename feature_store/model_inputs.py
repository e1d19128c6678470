"""The tenant's own attributes among a model's inputs: `model_inputs` in tenants.settings, checked before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

AttributeType = Literal["number", "category", "set"]
# {"contact": {"age": "number"}, "campaign": {"channels": "set"}}
ModelInputs = Mapping[str, Mapping[str, AttributeType]]

OWNERS = ("contact", "campaign")
TYPES = ("number", "category", "set")


class InvalidModelInputs(Exception):
    """`model_inputs` is not what it should be. `field` is the place, e.g. `contact.age`."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"model_inputs: {field} {reason}")
        self.field = field


def check_model_inputs(given: Any) -> ModelInputs:
    """The configuration itself, typed. Raises InvalidModelInputs naming the first field that is wrong."""
    if not isinstance(given, Mapping):
        raise InvalidModelInputs("the whole", f"must be an object of {' and '.join(OWNERS)}, not {_shown(given)}")
    for owner, fields in given.items():
        if owner not in OWNERS:
            raise InvalidModelInputs(str(owner), f"is neither of {' and '.join(OWNERS)}")
        if not isinstance(fields, Mapping):
            raise InvalidModelInputs(owner, f"must be an object of attribute names and types, not {_shown(fields)}")
        for name, kind in fields.items():
            if not isinstance(name, str) or not name.strip():
                raise InvalidModelInputs(f"{owner}.{name}", "has no name")
            if kind not in TYPES:
                raise InvalidModelInputs(f"{owner}.{name}", f"must be one of {', '.join(TYPES)}, not {_shown(kind)}")
    return cast(ModelInputs, given)


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
