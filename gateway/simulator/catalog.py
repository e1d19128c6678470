"""What the shop sells, and the carts people send."""

import json
from random import Random

from gateway.simulator.people import CATEGORIES, Person

CATALOG_ID = "880000000000001"
CURRENCY = "EUR"
# Price of one piece in cents.
PRODUCTS: dict[str, tuple[tuple[str, int], ...]] = {
    "coffee": (("coffee-house", 890), ("coffee-espresso", 1090), ("coffee-decaf", 990), ("coffee-reserve", 1690)),
    "tea": (("tea-green", 590), ("tea-black", 550), ("tea-herbal", 490), ("tea-oolong", 1250)),
    "bakery": (("bakery-box", 1290), ("bakery-bread", 520), ("bakery-cookies", 690), ("bakery-cake", 2390)),
    "gifts": (("gifts-basket", 3490), ("gifts-mug", 1190), ("gifts-card", 2500), ("gifts-press", 2990)),
}


def cart(person: Person, category: str | None, discount_rate: float, rng: Random) -> str:
    """JSON of an `order` message: 1 to 3 products, mostly of the offer's category, else of the person's taste."""
    wanted = category if category in PRODUCTS and rng.random() < 0.8 else person.taste
    lines = {}
    for _ in range(1 + (rng.random() < 0.35) + (rng.random() < 0.1)):
        group = wanted if rng.random() < 0.85 else rng.choice(CATEGORIES)
        product_id, price_cents = rng.choice(PRODUCTS[group])
        price_cents = round(price_cents * (1 - discount_rate)) if group == category else price_cents
        lines[product_id] = {
            "product_retailer_id": product_id,
            "quantity": 1 + (rng.random() < 0.25),
            "item_price": price_cents / 100,
            "currency": CURRENCY,
        }
    return json.dumps({"catalog_id": CATALOG_ID, "text": "", "product_items": list(lines.values())})
