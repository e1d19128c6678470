"""What a webhook change says once for all its items."""

from typing import Any

from gateway.drivers.cloud_api.fields import Fields, Json

_LONGEST_NUMBER_ID = 128
_SMALL = 2000
# Where an item names the person it is about.
_PERSON = {"messages": ("from",), "user_preferences": ("wa_id",)}


class Envelope:
    """What stands around the items of a change: the number of ours they are about, and the people they name. Every
    event of the change carries it, so where there are several only what is small or known of it stays."""

    def __init__(self, value: Json, *, is_shared: bool) -> None:
        kept = _small if is_shared else _whole
        metadata, contacts = value.get("metadata"), value.get("contacts")
        held = kept(metadata, "phone_number_id", "display_phone_number") if isinstance(metadata, dict) else None
        self.metadata: Json = {"metadata": held}
        self.phone_number_id = phone_number_id_of(value)
        people = [
            kept(person, "wa_id", "user_id", "profile")
            for person in (contacts if isinstance(contacts, list) else ())
            if isinstance(person, dict)
        ]
        self._people = {person["wa_id"]: person for person in people if isinstance(person.get("wa_id"), str)}
        self._only = people[0] if len(people) == 1 else None

    def around(self, key: str, item: Json) -> Json:
        """A change's value with this item alone and the person it is about."""
        person = next((item[name] for name in _PERSON.get(key, ("recipient_id", "to")) if item.get(name)), None)
        contact = self._people.get(person, self._only) if isinstance(person, str) else self._only
        return {**self.metadata, "contacts": [contact] if contact else [], key: [item]}


def _whole(part: Json, *_: str) -> Json:
    return part


def _small(part: Json, *keys: str) -> Json:
    if _weight(part) <= _SMALL:
        return part
    return {key: part[key] for key in keys if key in part and _weight(part[key]) <= _SMALL // 4}


def _weight(part: Any) -> int:
    """About how many characters of JSON; numbers have few, or were left as text."""
    if isinstance(part, str):
        return len(part) + 2
    if isinstance(part, dict):
        return sum(len(key) + 4 + _weight(value) for key, value in part.items())
    return sum(map(_weight, part)) + 2 if isinstance(part, list) else 8


def phone_number_id_of(value: Json) -> str | None:
    """The number of ours that a change's value is about, where it names one."""
    metadata = value.get("metadata")
    return (
        Fields(metadata, []).identifier("phone_number_id", _LONGEST_NUMBER_ID) if isinstance(metadata, dict) else None
    )
