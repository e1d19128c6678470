"""Which templates exist, and what people see in a send: the side channel that a real WhatsApp has in its pixels."""

import re
from typing import Any

from gateway.simulator.history import Attributes
from gateway.simulator.people import CATEGORIES
from gateway.simulator.store import Store

DEFAULT_TEMPLATES = {
    "hello_world": "UTILITY",
    "order_confirmation": "UTILITY",
    "weekly_offer": "MARKETING",
    **{f"{category}_{kind}": "MARKETING" for category in CATEGORIES for kind in ("news", "discount")},
}
_PERCENT = re.compile(r"(?:^|_)(\d{1,2})(?:_|pct|percent|$)")


class Templates:
    """Registered templates plus a default list, and the attributes of what is sent with them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._category = dict(DEFAULT_TEMPLATES)
        self._category.update({row["name"]: row["category"] for row in store.templates()})
        self._by_template: dict[str, Attributes] = {}
        self._by_prefix: dict[str, Attributes] = {}
        for match, value, attributes in store.campaigns():
            self._remember(match, value, Attributes.model_validate(attributes))

    def category(self, name: str) -> str | None:
        """MARKETING, UTILITY or AUTHENTICATION; None when there is no such template."""
        return self._category.get(name)

    def listed(self) -> list[dict[str, Any]]:
        """Every template as the provider shows it; those known from the start are in English."""
        registered = [{**row, "status": "APPROVED"} for row in self._store.templates()]
        known = {row["name"] for row in registered}
        defaults = [
            {"id": str(number), "name": name, "language": "en", "category": category, "components": []}
            for number, (name, category) in enumerate(DEFAULT_TEMPLATES.items(), start=1)
            if name not in known
        ]
        return registered + [{**row, "status": "APPROVED"} for row in defaults]

    def register(self, name: str, language: str, category: str, components: list[Any]) -> int:
        """The template's id. Every template is approved at once."""
        self._category[name] = category
        return self._store.set_template(name, language, category, components)

    def describe(self, match: str, value: str, attributes: Attributes) -> None:
        """Says what people see in sends by `template_name` or by `callback_prefix`."""
        self._store.set_campaign(match, value, attributes.model_dump(mode="json"))
        self._remember(match, value, attributes)

    def attributes(self, name: str, callback: str) -> Attributes:
        """The longest fitting callback prefix wins, then the template as described, then what its name says."""
        fitting = [prefix for prefix in self._by_prefix if callback.startswith(prefix)]
        if fitting:
            return self._by_prefix[max(fitting, key=len)]
        return self._by_template.get(name) or attributes_of_name(name)

    def _remember(self, match: str, value: str, attributes: Attributes) -> None:
        (self._by_template if match == "template_name" else self._by_prefix)[value] = attributes


def attributes_of_name(name: str) -> Attributes:
    """`coffee_discount_20` is coffee at 20% off; `tea_news` is tea; a name without a category moves nobody's taste."""
    category = next((category for category in CATEGORIES if category in name.split("_")), None)
    percent = _PERCENT.search(name)
    is_discount = "discount" in name
    discount_rate = int(percent.group(1)) / 100 if percent else (0.1 if is_discount else 0.0)
    return Attributes(category=category, offer_type="discount" if is_discount else "news", discount_rate=discount_rate)
