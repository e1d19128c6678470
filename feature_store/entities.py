"""The keys that features are about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entity:
    name: str
    join_keys: tuple[str, ...]


CONTACT = Entity("contact", ("tenant_id", "contact_id"))
