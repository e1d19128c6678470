"""How each canonical table becomes rows of ours: a DuckDB SELECT over valid rows, and what a later one may change."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from serving.importing.validate import derived_id

LADDER = "['pending', 'sent', 'failed', 'delivered', 'read']"
RANKS = f"ARRAY{LADDER}"

FURTHER = (
    f"CASE WHEN array_position({RANKS}, stage.status) > array_position({RANKS}, t.status)"
    " THEN stage.status ELSE t.status END"
)


@dataclass(frozen=True)
class Target:
    """`columns`: the staged columns and their types, in the order of `rows`. `values`: SQL put in the place of a staged
    column. `updates`: what a row that is there already takes over (t is the row, stage the import).
    `rows` come in the order of the key most indexes begin with: a fifth less work for PostgreSQL than by chance.
    `natural_keys`: conditions under which a row of another origin is the same thing; its id is then used instead, the
    first condition's where several hold. `only`: which staged rows are inserted."""

    table: str
    rows: str
    columns: dict[str, str]
    values: dict[str, str] = field(default_factory=dict)
    updates: dict[str, str] = field(default_factory=dict)
    natural_keys: tuple[str, ...] = ()
    inserts: bool = True
    only: str = "true"


def own_id(table: str, key: str = "_key") -> str:
    return derived_id(table, key)


def reference(table: str, column: str, *, aliased: Collection[str]) -> str:
    """The id of the row that `column` names: derived, unless that row was found under another id."""
    derived = derived_id(table, column)
    if table not in aliased:
        return derived
    return f"coalesce((SELECT actual FROM aliases WHERE name = '{table}' AND aliases.derived = ({derived})), {derived})"


def contacts(source: str) -> Target:
    return Target(
        "contacts",
        f"""SELECT {own_id("contacts")} AS id, phone, name, email, language, timezone,
                CASE WHEN tags IS NULL THEN NULL ELSE CAST(to_json(tags) AS VARCHAR) END AS tags,
                attributes AS custom_data,
                coalesce(priority, 'normal') AS priority, {_text(source)} AS source, external_id, known_at
            FROM valid_contacts ORDER BY id""",
        {
            "id": "uuid", "phone": "text", "name": "text", "email": "text", "language": "text", "timezone": "text",
            "tags": "jsonb", "custom_data": "jsonb", "priority": "text", "source": "text", "external_id": "text",
            "known_at": "timestamptz",
        },
        values={
            "tags": "ARRAY(SELECT jsonb_array_elements_text(coalesce(stage.tags, '[]')))",
            "custom_data": "jsonb_strip_nulls(stage.custom_data)",
        },
        updates={
            "name": "coalesce(stage.name, t.name)",
            "email": "coalesce(stage.email, t.email)",
            "language": "coalesce(stage.language, t.language)",
            "timezone": "coalesce(stage.timezone, t.timezone)",
            "custom_data": "t.custom_data || jsonb_strip_nulls(stage.custom_data)",
            "known_at": "least(t.known_at, stage.known_at)",
        },
        natural_keys=("t.phone = stage.phone", "t.source = stage.source AND t.external_id = stage.external_id"),
    )  # fmt: skip


def contact_identities(source: str, aliased: Collection[str]) -> Target:
    contact = reference("contacts", "external_id", aliased=aliased)
    return Target(
        "contact_identities",
        f"""SELECT {own_id("identities", "kind || chr(31) || value")} AS id, contact_id, kind, value FROM (
                SELECT {contact} AS contact_id, unnest(['external', 'phone']) AS kind,
                       unnest([{_text(source + ":")} || external_id, phone]) AS value FROM valid_contacts)
            WHERE value IS NOT NULL""",
        {"id": "uuid", "contact_id": "uuid", "kind": "text", "value": "text"},
        # An import changes nobody's number, so a new one names nobody either.
        only="stage.kind <> 'phone' OR EXISTS (SELECT FROM contacts AS c WHERE c.tenant_id = CAST(:tenant AS uuid)"
        " AND c.id = stage.contact_id AND c.phone = stage.value)",
    )


def campaigns(source: str) -> Target:
    return Target(
        "campaigns",
        f"""SELECT {own_id("campaigns")} AS id, {_text(source + ":")} || external_id AS external_id, name,
                coalesce(type, 'broadcast') AS type, 'completed' AS status, coalesce(message, '') AS message_template,
                template_name, coalesce(template_language, 'en') AS template_language, attributes,
                coalesce(conversion_event, 'order') AS conversion_event,
                coalesce(attribution_seconds, 604800) AS attribution_seconds, started_at AS start_date,
                ended_at AS end_date,
                started_at AS known_at
            FROM valid_campaigns""",
        {
            "id": "uuid", "external_id": "text", "name": "text", "type": "text", "status": "text",
            "message_template": "text",
            "template_name": "text", "template_language": "text", "attributes": "jsonb", "conversion_event": "text",
            "attribution_seconds": "integer", "start_date": "timestamptz",
            "end_date": "timestamptz", "known_at": "timestamptz",
        },
        values={"attributes": "jsonb_strip_nulls(stage.attributes)"},
        updates={
            "name": "stage.name",
            "attributes": "t.attributes || jsonb_strip_nulls(stage.attributes)",
            "conversion_event": "stage.conversion_event",
            "attribution_seconds": "stage.attribution_seconds",
            "end_date": "coalesce(stage.end_date, t.end_date)",
        },
        natural_keys=("t.external_id = stage.external_id",),
    )  # fmt: skip


def conversations(tables: Collection[str], aliased: Collection[str]) -> Target:
    """One for each contact with a message; imported history belongs to no number of ours."""
    parts = []
    if "messages" in tables:
        parts.append(
            "SELECT contact, occurred_at, coalesce(direction = 'inbound', false) AS inbound FROM valid_messages"
        )
    if "replies" in tables:
        parts.append("SELECT contact, occurred_at, true AS inbound FROM valid_replies")
    return Target(
        "conversations",
        f"""SELECT {own_id("conversations", "contact")} AS id,
                {reference("contacts", "contact", aliased=aliased)} AS contact_id,
                min(occurred_at) AS started_at, max(occurred_at) AS last_message_at,
                max(occurred_at) FILTER (inbound) + INTERVAL 24 HOURS AS window_expires_at, NULL AS phone_number_id
            FROM ({" UNION ALL ".join(parts)}) GROUP BY contact ORDER BY contact_id""",
        {
            "id": "uuid", "contact_id": "uuid", "started_at": "timestamptz", "last_message_at": "timestamptz",
            "window_expires_at": "timestamptz", "phone_number_id": "uuid",
        },
        updates={
            "started_at": "least(t.started_at, stage.started_at)",
            "last_message_at": "greatest(t.last_message_at, stage.last_message_at)",
            "window_expires_at": "greatest(t.window_expires_at, stage.window_expires_at)",
        },
        natural_keys=("t.contact_id = stage.contact_id AND t.phone_number_id IS NULL",),
    )  # fmt: skip


MESSAGE_COLUMNS = {
    "id": "uuid", "contact_id": "uuid", "conversation_id": "uuid", "campaign_id": "uuid", "direction": "text",
    "kind": "text",
    "text": "text", "status": "text", "timestamp": "timestamptz", "provider_id": "text", "template_name": "text",
    "reply_to_provider_id": "text", "known_at": "timestamptz",
}  # fmt: skip


def messages(source: str, tables: Collection[str], aliased: Collection[str]) -> Target:
    """`status` is the furthest one the history tells of; an outbound message with none was sent."""
    reached = (
        f"""LEFT JOIN (SELECT message, max(list_position({LADDER}, status)) AS rank
            FROM valid_statuses GROUP BY message) AS reached ON reached.message = m.external_id"""
        if "statuses" in tables
        else ""
    )
    rank = "reached.rank" if reached else "NULL"
    return Target(
        "messages",
        f"""SELECT {own_id("messages")} AS id, {reference("contacts", "contact", aliased=aliased)} AS contact_id,
                {reference("conversations", "contact", aliased=aliased)} AS conversation_id,
                {reference("campaigns", "campaign", aliased=aliased)} AS campaign_id,
                coalesce(direction, 'outbound') AS direction, coalesce(kind, 'text') AS kind, text,
                CASE WHEN direction = 'inbound' THEN 'delivered'
                     ELSE {LADDER}[coalesce({rank}, 2)] END AS status,
                occurred_at AS timestamp, coalesce(provider_id, {_text(source + ":")} || _key) AS provider_id,
                template_name,
                NULL AS reply_to_provider_id, occurred_at AS known_at
            FROM valid_messages AS m {reached} ORDER BY contact_id, timestamp""",
        MESSAGE_COLUMNS,
        updates={
            "status": FURTHER,
            "campaign_id": "coalesce(t.campaign_id, stage.campaign_id)",
        },
        natural_keys=("t.provider_id = stage.provider_id",),
    )


def statuses(aliased: Collection[str]) -> Target:
    return Target(
        "message_status_events",
        f"""SELECT {own_id("statuses")} AS id, {reference("messages", "message", aliased=aliased)} AS message_id,
                status, occurred_at, error_code, occurred_at AS known_at FROM valid_statuses ORDER BY message_id""",
        {
            "id": "uuid", "message_id": "uuid", "status": "text", "occurred_at": "timestamptz", "error_code": "integer",
            "known_at": "timestamptz",
        },
    )  # fmt: skip


def furthest(aliased: Collection[str]) -> Target:
    """No rows of its own: the furthest status of each message the statuses speak of, for messages that are there."""
    return Target(
        "messages",
        f"""SELECT {reference("messages", "message", aliased=aliased)} AS id,
                {LADDER}[max(list_position({LADDER}, status))] AS status
            FROM valid_statuses GROUP BY message""",
        {"id": "uuid", "status": "text"},
        updates={"status": FURTHER},
        inserts=False,
    )


def reply_messages(source: str, aliased: Collection[str]) -> Target:
    """The inbound message every reply is."""
    return Target(
        "messages",
        f"""SELECT {own_id("replies")} AS id, {reference("contacts", "contact", aliased=aliased)} AS contact_id,
                {reference("conversations", "contact", aliased=aliased)} AS conversation_id, NULL AS campaign_id,
                'inbound' AS direction, 'text' AS kind, text, 'delivered' AS status, occurred_at AS timestamp,
                {_text(source + ":reply:")} || _key AS provider_id, NULL AS template_name, NULL AS reply_to_provider_id,
                occurred_at AS known_at
            FROM valid_replies""",
        MESSAGE_COLUMNS,
    )


def replies(aliased: Collection[str]) -> Target:
    return Target(
        "replies",
        f"""SELECT {own_id("reply_rows")} AS id, {own_id("replies")} AS message_id,
                {reference("contacts", "contact", aliased=aliased)} AS contact_id,
                {reference("messages", "in_reply_to", aliased=aliased)} AS in_reply_to_id,
                {reference("campaigns", "campaign", aliased=aliased)} AS campaign_id, text, occurred_at AS timestamp,
                classification, sentiment_score, occurred_at AS known_at
            FROM valid_replies""",
        {
            "id": "uuid", "message_id": "uuid", "contact_id": "uuid", "in_reply_to_id": "uuid", "campaign_id": "uuid",
            "text": "text", "timestamp": "timestamptz", "classification": "text", "sentiment_score": "float8",
            "known_at": "timestamptz",
        },
        values={
            "campaign_id": "coalesce(stage.campaign_id, (SELECT m.campaign_id FROM messages AS m"
            " WHERE m.tenant_id = CAST(:tenant AS uuid) AND m.id = stage.in_reply_to_id))"
        },
        updates={
            "classification": "coalesce(t.classification, stage.classification)",
            "sentiment_score": "coalesce(t.sentiment_score, stage.sentiment_score)",
        },
    )  # fmt: skip


def orders(source: str, aliased: Collection[str]) -> Target:
    return Target(
        "orders",
        f"""SELECT {own_id("orders")} AS id, {reference("contacts", "contact", aliased=aliased)} AS contact_id,
                _key AS external_id, coalesce(platform, {_text(source)}) AS platform,
                coalesce(status, 'delivered') AS status, total_cents,
                coalesce(currency, 'USD') AS currency, occurred_at AS ordered_at, occurred_at AS known_at
            FROM valid_orders ORDER BY contact_id, ordered_at""",
        {
            "id": "uuid", "contact_id": "uuid", "external_id": "text", "platform": "text", "status": "text",
            "total_cents": "bigint", "currency": "text", "ordered_at": "timestamptz", "known_at": "timestamptz",
        },
        updates={"status": "stage.status", "total_cents": "stage.total_cents"},
        natural_keys=("t.platform = stage.platform AND t.external_id = stage.external_id",),
    )  # fmt: skip


def conversions(source: str, aliased: Collection[str]) -> Target:
    return Target(
        "conversions",
        f"""SELECT {own_id("conversions")} AS id, {reference("contacts", "contact", aliased=aliased)} AS contact_id,
                {reference("campaigns", "campaign", aliased=aliased)} AS campaign_id,
                {_text(source + ":")} || _key AS external_id, value_cents, occurred_at, occurred_at AS known_at
            FROM valid_conversions ORDER BY contact_id, occurred_at""",
        {
            "id": "uuid", "contact_id": "uuid", "campaign_id": "uuid", "external_id": "text", "value_cents": "bigint",
            "occurred_at": "timestamptz", "known_at": "timestamptz",
        },
        updates={"value_cents": "stage.value_cents"},
        natural_keys=("t.external_id = stage.external_id",),
    )  # fmt: skip


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
