"""The tables a mapping can fill and the columns its SELECTs may give. docs/how-to/import-history.md says the same."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """`kind`: id, text, time, cents, integer, number, currency, zone, tags, phone, a tuple of the words allowed, or
    `ref:<table>` for the external id of a row of that table."""

    name: str
    kind: str | tuple[str, ...]
    required: bool = False

    @property
    def refers_to(self) -> str | None:
        return self.kind.removeprefix("ref:") if isinstance(self.kind, str) and self.kind.startswith("ref:") else None


@dataclass(frozen=True)
class Canonical:
    """A table; `attributes` says whether it takes typed facts of the business's own."""

    name: str
    columns: tuple[Column, ...]
    attributes: bool = False

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


EXTERNAL_ID = Column("external_id", "id")
CONTACT = Column("contact", "ref:contacts", required=True)
OCCURRED_AT = Column("occurred_at", "time", required=True)
PURPOSES = ("marketing", "utility", "service")
KINDS = (
    "text",
    "template",
    "image",
    "video",
    "audio",
    "document",
    "interactive",
    "button",
    "order",
    "reaction",
    "other",
)

# In the order of loading: a table refers to earlier ones only.
TABLES = {
    table.name: table
    for table in (
        Canonical(
            "contacts",
            (
                Column("external_id", "id", required=True),
                Column("known_at", "time", required=True),
                Column("phone", "phone"),
                Column("name", "text"),
                Column("email", "text"),
                Column("language", "text"),
                Column("timezone", "zone"),
                Column("tags", "tags"),
                Column("priority", ("low", "normal", "high")),
            ),
            attributes=True,
        ),
        Canonical(
            "consents",
            (
                EXTERNAL_ID,
                CONTACT,
                Column("status", ("opted_in", "opted_out"), required=True),
                OCCURRED_AT,
                Column("source", "text", required=True),
                Column("purpose", PURPOSES),
                Column("wording", "text"),
                Column("language", "text"),
            ),
        ),
        Canonical(
            "campaigns",
            (
                Column("external_id", "id", required=True),
                Column("name", "text", required=True),
                Column("started_at", "time", required=True),
                Column("ended_at", "time"),
                Column("type", ("broadcast", "drip", "nurture", "followup")),
                Column("message", "text"),
                Column("template_name", "text"),
                Column("template_language", "text"),
                Column("conversion_event", ("order", "redemption")),
                Column("attribution_seconds", "integer"),
            ),
            attributes=True,
        ),
        Canonical(
            "messages",
            (
                EXTERNAL_ID,
                CONTACT,
                OCCURRED_AT,
                Column("campaign", "ref:campaigns"),
                Column("direction", ("outbound", "inbound")),
                Column("kind", KINDS),
                Column("text", "text"),
                Column("template_name", "text"),
                Column("provider_id", "id"),
            ),
        ),
        Canonical(
            "statuses",
            (
                Column("message", "ref:messages", required=True),
                Column("status", ("sent", "delivered", "read", "failed"), required=True),
                OCCURRED_AT,
                Column("error_code", "integer"),
            ),
        ),
        Canonical(
            "replies",
            (
                EXTERNAL_ID,
                CONTACT,
                OCCURRED_AT,
                Column("text", "text"),
                Column("in_reply_to", "ref:messages"),
                Column("campaign", "ref:campaigns"),
                Column("classification", ("interested", "not_interested", "question", "unsubscribe")),
                Column("sentiment_score", "number"),
            ),
        ),
        Canonical(
            "orders",
            (
                EXTERNAL_ID,
                CONTACT,
                OCCURRED_AT,
                Column("total_cents", "cents", required=True),
                Column("currency", "currency"),
                Column("platform", "id"),
                Column("status", ("pending", "shipped", "delivered", "cancelled")),
            ),
        ),
        Canonical(
            "conversions",
            (
                EXTERNAL_ID,
                CONTACT,
                Column("campaign", "ref:campaigns", required=True),
                OCCURRED_AT,
                Column("value_cents", "cents"),
            ),
        ),
    )
}  # fmt: skip
