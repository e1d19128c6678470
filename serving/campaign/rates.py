"""The rates of a campaign, of a day, of a report: one definition each, that of dbt's `macros/metrics.sql`.

`delivery_rate` = delivered / sent, `read_rate` = read / delivered, `response_rate` = replied / sent,
`conversion_rate` = converted / sent. A rate is a share of 1, null when its divisor is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def message_rates(counts: Mapping[str, Any]) -> dict[str, float | None]:
    """Of `sent`, `delivered`, `read` and `replied`."""
    return {
        "delivery_rate": share(counts["delivered"], counts["sent"]),
        "read_rate": share(counts["read"], counts["delivered"]),
        "response_rate": share(counts["replied"], counts["sent"]),
    }


def campaign_rates(counts: Mapping[str, Any]) -> dict[str, float | None]:
    """Those of its messages, and of `converted`."""
    return message_rates(counts) | {"conversion_rate": share(counts["converted"], counts["sent"])}
