"""Imported grants and withdrawals, in one transaction: an import can take consent away and never gives it back."""

from __future__ import annotations

import datetime as dt
import uuid

import duckdb
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.consent.suppression import phone_hmac
from serving.importing.load import Loaded, row_count, stage
from serving.importing.targets import own_id, reference

REFUSED = "status: this person opted out; an import never opts anyone in again"
OTHER_NUMBER = "status: this person has another number here; what was granted at one number is no grant at another"

_REFUSE = """
    DELETE FROM stage USING contacts AS c
    WHERE c.tenant_id = CAST(:tenant AS uuid) AND c.id = stage.contact_id AND stage.status = 'opted_in'
      AND NOT EXISTS (SELECT FROM consent_events AS e WHERE e.event_key = stage.event_key)
      AND (stage.purpose = 'marketing' AND c.phone <> stage.phone
           OR EXISTS (SELECT FROM consents AS held WHERE held.contact_id = stage.contact_id
                   AND held.purpose = stage.purpose AND held.status = 'opted_out'
                   AND held.effective_at <= stage.occurred_at)
           OR stage.purpose = 'marketing' AND stage.contact_id IN (SELECT contact_id FROM listed))
    RETURNING stage.row, stage.purpose = 'marketing' AND c.phone <> stage.phone
"""
_RECORD = """
    INSERT INTO consent_events (tenant_id, id, contact_id, event_key, purpose, status, occurred_at, known_at, source,
                                wording, language)
    SELECT CAST(:tenant AS uuid), id, contact_id, event_key, purpose, status, occurred_at, occurred_at, source,
           wording, language
    FROM stage ON CONFLICT DO NOTHING
"""
# A number on the list is out from the moment it was listed, whatever the history says.
_RECORD_LISTED = """
    INSERT INTO consent_events (tenant_id, contact_id, event_key, purpose, status, occurred_at, known_at, source)
    SELECT CAST(:tenant AS uuid), contact_id, 'suppression_list:' || contact_id, 'marketing', 'opted_out', date, date,
           'suppression_list'
    FROM listed ON CONFLICT DO NOTHING
"""
# As for live consents the newest event holds, and of two at one moment the withdrawal.
_APPLY = """
    INSERT INTO consents AS held (tenant_id, contact_id, purpose, status, effective_at, source)
    SELECT DISTINCT ON (contact_id, purpose) CAST(:tenant AS uuid), contact_id, purpose, status, occurred_at, source
    FROM consent_events
    WHERE contact_id IN (SELECT contact_id FROM stage UNION SELECT contact_id FROM listed)
    ORDER BY contact_id, purpose, occurred_at DESC, status DESC
    ON CONFLICT (tenant_id, contact_id, purpose) DO UPDATE
    SET status = excluded.status, effective_at = excluded.effective_at, source = excluded.source
    WHERE held.status = 'opted_in' AND held.effective_at <= excluded.effective_at
      AND (held.status, held.effective_at) IS DISTINCT FROM (excluded.status, excluded.effective_at)
"""
_LISTED_OUT = """
    UPDATE consents AS held SET status = 'opted_out', source = 'suppression_list', effective_at = listed.date
    FROM listed
    WHERE held.contact_id = listed.contact_id AND held.purpose = 'marketing' AND held.status = 'opted_in'
"""
# The second part: who said no has another number here; the one it was said for is out all the same.
_OUT = """
    SELECT c.phone, held.effective_at FROM contacts AS c JOIN consents AS held ON held.contact_id = c.id
    WHERE held.purpose = 'marketing' AND held.status = 'opted_out' AND c.phone IS NOT NULL
      AND held.source <> 'phone_changed' AND c.id IN (SELECT contact_id FROM stage)
    UNION
    SELECT said.phone, said.occurred_at FROM stage AS said JOIN contacts AS c ON c.id = said.contact_id
    WHERE said.purpose = 'marketing' AND said.status = 'opted_out' AND c.phone <> said.phone
      AND NOT EXISTS (SELECT FROM contacts AS other JOIN consents AS held ON held.contact_id = other.id
                      WHERE other.phone = said.phone AND held.purpose = 'marketing' AND held.status = 'opted_in'
                        AND held.effective_at > said.occurred_at)
"""
_LIST = """
    INSERT INTO unsubscribers (tenant_id, phone_hmac, reason, date)
    SELECT CAST(:tenant AS uuid), hmac, 'imported_opt_out', date FROM stage_listed ON CONFLICT DO NOTHING
"""
EVENT_COLUMNS = {
    "row": "bigint", "id": "uuid", "contact_id": "uuid", "event_key": "text", "purpose": "text", "status": "text",
    "occurred_at": "timestamptz", "source": "text", "wording": "text", "language": "text", "phone": "text",
}  # fmt: skip


def load_consents(
    connection: duckdb.DuckDBPyConnection, session: Session, tenant_id: uuid.UUID, source: str, phone_key: str, *,
    tables: set[str], aliased: set[str],
) -> Loaded:  # fmt: skip
    """Records the valid consent rows and applies them; opt-ins of people who are out go to `rejected_consents`.

    Contacts of this import whose number is on the tenant's list are opted out, consent rows or not.
    """
    tenant = {"tenant": tenant_id}
    stage(
        session,
        "listed",
        {"contact_id": "uuid", "date": "timestamptz"},
        _listed(connection, session, phone_key, tables, aliased),
    )
    events = _events(connection, source, aliased, tables) if "consents" in tables else None
    stage(session, "stage", EVENT_COLUMNS, events if events is not None else pa.table({}))
    refused = [
        (row, OTHER_NUMBER if other_number else REFUSED)
        for row, other_number in session.execute(sa.text(_REFUSE), tenant).tuples()
    ]
    new = row_count(session, _RECORD, tenant)
    session.execute(sa.text(_RECORD_LISTED), tenant)
    session.execute(sa.text(_APPLY), tenant)
    session.execute(sa.text(_LISTED_OUT), tenant)
    out = [(phone_hmac(phone, phone_key), date) for phone, date in session.execute(sa.text(_OUT), tenant).tuples()]
    hmacs = pa.table(
        {"hmac": [row[0] for row in out], "date": pa.array([row[1] for row in out], pa.timestamp("us", "UTC"))}
    )
    stage(session, "stage_listed", {"hmac": "text", "date": "timestamptz"}, hmacs)
    session.execute(sa.text(_LIST), tenant)
    if events is None:
        return Loaded()
    _reject(connection, refused)
    return Loaded(new=new, there=events.num_rows - len(refused) - new)


def _events(connection: duckdb.DuckDBPyConnection, source: str, aliased: set[str], tables: set[str]) -> pa.Table:
    """`phone` is the number this import names for the person, where it does."""
    contact = reference("contacts", "contact", aliased=aliased)
    prefix = "'" + source + ":consent:'"
    phone = (
        "(SELECT p.phone FROM valid_contacts AS p WHERE p.external_id = contact)" if "contacts" in tables else "NULL"
    )
    return connection.sql(
        f"""SELECT _row AS row, {own_id("consents")} AS id, {contact} AS contact_id, {prefix} || _key AS event_key,
                coalesce(purpose, 'marketing') AS purpose, status, occurred_at, source, wording, language,
                {phone} AS phone
            FROM valid_consents"""
    ).to_arrow_table()


def _listed(
    connection: duckdb.DuckDBPyConnection, session: Session, phone_key: str, tables: set[str], aliased: set[str]
) -> pa.Table:
    """Contacts of this import whose number is on the list: contact_id, date."""
    dates: dict[str, dt.datetime] = dict(
        session.execute(sa.text("SELECT phone_hmac, date FROM unsubscribers")).tuples().all()
    )
    found: list[tuple[str, dt.datetime]] = []
    if dates and "contacts" in tables:
        contact = reference("contacts", "external_id", aliased=aliased)
        people = connection.execute(f"SELECT {contact}, phone FROM valid_contacts WHERE phone IS NOT NULL")
        while rows := people.fetchmany(50_000):
            hmacs = ((contact_id, phone_hmac(phone, phone_key)) for contact_id, phone in rows)
            found += [(contact_id, dates[hmac]) for contact_id, hmac in hmacs if hmac in dates]
    return pa.table(
        {"contact_id": pa.array([row[0] for row in found], pa.string()),
         "date": pa.array([row[1] for row in found], pa.timestamp("us", "UTC"))}
    )  # fmt: skip


def _reject(connection: duckdb.DuckDBPyConnection, refused: list[tuple[int, str]]) -> None:
    rows = pa.table(
        {"row": pa.array([row for row, _ in refused], pa.int64()),
         "reason": pa.array([reason for _, reason in refused], pa.string())}
    )  # fmt: skip
    connection.register("refused_consents", rows)
    connection.execute("INSERT INTO rejected_consents SELECT row, reason FROM refused_consents")
    connection.unregister("refused_consents")
