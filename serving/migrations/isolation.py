"""The rules that keep tenants apart, written into the database: policies, grants, triggers and the look-ups that run
before a tenant is known. Called by migrations; what stands here describes revision 0001 and stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from alembic import op

CURRENT_TENANT = "NULLIF(current_setting('app.tenant_id', true), '')::uuid"


def isolate(ingested: Mapping[str, Sequence[str]], append_only: Sequence[str]) -> None:
    """Secures every table of `public`. `ingested` maps a table to the columns ingest must not see."""
    connection = op.get_bind()
    tables = sa.inspect(connection).get_table_names()
    op.execute("GRANT USAGE ON SCHEMA public TO app, worker, etl_read, auth, owner")
    op.execute("GRANT CREATE ON SCHEMA public TO owner, auth")
    for table in tables:
        if table == "alembic_version":
            continue
        op.execute(f"ALTER TABLE {table} OWNER TO owner")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        policy(table)
        writes = "INSERT" if table in append_only else "INSERT, UPDATE, DELETE"
        if table in ("tenants", "users"):
            writes = "UPDATE"
        op.execute(f"GRANT SELECT, {writes} ON {table} TO app, worker")
    op.execute("GRANT SELECT ON alembic_version TO app, worker")
    track_changes(ingested)
    look_ups()


def policy(table: str) -> None:
    if table == "tenants":
        rule = f"id = {CURRENT_TENANT}"
    elif table == "users":
        rule = "EXISTS (SELECT FROM tenant_users WHERE tenant_users.user_id = users.id)"
    else:
        rule = f"tenant_id = {CURRENT_TENANT}"
    op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({rule}) WITH CHECK ({rule})")


def track_changes(ingested: Mapping[str, Sequence[str]]) -> None:
    op.execute("""
        CREATE FUNCTION mark_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.changed_xid := pg_current_xact_id();
            NEW.updated_at := now();
            RETURN NEW;
        END $$
    """)
    op.execute("ALTER FUNCTION mark_changed() OWNER TO owner")
    inspector = sa.inspect(op.get_bind())
    for table, hidden in ingested.items():
        op.execute(f"CREATE TRIGGER mark_changed BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION mark_changed()")
        columns = ", ".join(
            f'"{column["name"]}"' for column in inspector.get_columns(table) if column["name"] not in hidden
        )
        op.execute(f"GRANT SELECT ({columns}) ON {table} TO etl_read")


def look_ups() -> None:
    """The only functions that see across tenants. Each answers one question, by an exact key."""
    op.execute("GRANT SELECT ON users, tenant_users, api_keys, phone_numbers, tenants TO auth")
    op.execute("GRANT SELECT ON outbound_messages, inbound_events TO auth")
    op.execute("GRANT UPDATE (last_used) ON api_keys TO auth")
    definer = "LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public"
    functions = {
        "auth_login(name text)": f"""
            RETURNS TABLE (user_id uuid, username text, password_hash text, is_active boolean, role text)
            STABLE {definer} AS $$
                SELECT u.id, u.username, u.password_hash, u.is_active, u.role FROM users u
                WHERE u.username = name OR u.email = lower(name) $$""",
        "auth_user(wanted uuid)": f"""
            RETURNS TABLE (username text, email text, is_active boolean, role text, tenant_id uuid, tenant_slug text,
                           tenant_role text) STABLE {definer} AS $$
                SELECT u.username, u.email, u.is_active, u.role, tu.tenant_id, t.slug, tu.role
                FROM users u LEFT JOIN tenant_users tu ON tu.user_id = u.id LEFT JOIN tenants t ON t.id = tu.tenant_id
                WHERE u.id = wanted ORDER BY t.slug $$""",
        "auth_api_key(hash text)": f"""
            RETURNS TABLE (key_id uuid, tenant_id uuid, role text, rate_limit integer, expires_at timestamptz,
                           revoked_at timestamptz) STABLE {definer} AS $$
                SELECT k.id, k.tenant_id, k.role, k.rate_limit, k.expires_at, k.revoked_at FROM api_keys k
                WHERE k.key_hash = hash $$""",
        "auth_api_key_used(hash text, at timestamptz)": f"""
            RETURNS void {definer} AS $$
                UPDATE api_keys SET last_used = greatest(last_used, at) WHERE key_hash = hash $$""",
        "route_number(number_id text)": f"""
            RETURNS TABLE (tenant_id uuid, phone_number_id uuid) STABLE {definer} AS $$
                SELECT p.tenant_id, p.id FROM phone_numbers p WHERE p.provider_number_id = number_id $$""",
        "tenants_with_work(at timestamptz)": f"""
            RETURNS TABLE (tenant_id uuid, work text) STABLE {definer} AS $$
                SELECT DISTINCT o.tenant_id, 'outbound' FROM outbound_messages o
                WHERE (o.state = 'queued' AND o.due_at <= at) OR (o.state = 'sending' AND o.lease_until <= at)
                UNION ALL
                SELECT DISTINCT i.tenant_id, 'inbound' FROM inbound_events i WHERE i.processed_at IS NULL $$""",
    }
    for signature, body in functions.items():
        op.execute(f"CREATE FUNCTION {signature} {body}")
        name = signature.split("(")[0]
        op.execute(f"ALTER FUNCTION {name} OWNER TO auth")
        op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name} TO app, worker")
    op.execute("REVOKE CREATE ON SCHEMA public FROM owner, auth")
