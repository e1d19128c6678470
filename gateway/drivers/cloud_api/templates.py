"""The provider's list of message templates, read."""

import json
import re
from typing import Any, NamedTuple

from gateway.types import Template

TEMPLATE_FIELDS = "name,language,status,category,components"
_PLACEHOLDER = re.compile(r"\{\{\s*(\w{1,64})\s*\}\}")


class TemplatePage(NamedTuple):
    """`after` is the cursor of the next page, None on the last."""

    templates: list[Template]
    after: str | None


def read_templates(body: bytes) -> TemplatePage | None:
    """One page of GET /{waba_id}/message_templates; None when it is something else. Odd entries are left out."""
    try:
        content: Any = json.loads(body)
        entries, paging = content["data"], content.get("paging") or {}
        after = paging["cursors"]["after"] if paging.get("next") else None
        return TemplatePage([found for entry in entries if (found := _template(entry)) is not None], after)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _template(entry: Any) -> Template | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return None
    words = {name: str(entry.get(name) or "") for name in ("language", "status", "category")}
    return Template(entry["name"], **words, variables=_variables(entry.get("components")))


def _variables(components: Any) -> int | None:
    for component in components if isinstance(components, list) else ():
        if isinstance(component, dict) and str(component.get("type", "")).upper() == "BODY":
            return len(set(_PLACEHOLDER.findall(str(component.get("text") or ""))))
    return None
