"""Operational tables, isolated by tenant from the first row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from serving.migrations.isolation import isolate
from serving.models.base import Xid8

revision = "0001"
down_revision = None

# The columns ingest reads: neither names, addresses nor phone numbers of people leave the operational database.
INGESTED = {
    "tenants": ["name", "domain", "plan", "billing_customer_id"],
    "campaigns": [],
    "contacts": ["phone", "name", "email"],
    "consents": [],
    "consent_events": ["proof"],
    "conversations": [],
    "messages": [],
    "message_status_events": [],
    "replies": [],
    "orders": [],
    "order_items": [],
    "conversions": [],
    "outbound_messages": ["payload"],
    "decisions": [],
}
APPEND_ONLY = ("consent_events", "send_attempts", "decisions")


def upgrade() -> None:
    create_tables()
    isolate(ingested=INGESTED, append_only=APPEND_ONLY)


def downgrade() -> None:
    op.execute("DROP SCHEMA public CASCADE")
    op.execute("CREATE SCHEMA public")


def create_tables() -> None:
    op.create_table('tenants',
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('name', sa.Text(), nullable=False),
        sa.Column('slug', sa.Text(), nullable=False),
        sa.Column('domain', sa.Text(), nullable=True),
        sa.Column('plan', sa.Text(), server_default='free', nullable=False),
        sa.Column('billing_customer_id', sa.Text(), nullable=True),
        sa.Column('timezone', sa.Text(), server_default='UTC', nullable=False),
        sa.Column('backfilled_until', sa.DateTime(timezone=True), nullable=True),
        sa.Column('settings', postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_tenants')),
        sa.UniqueConstraint('slug', name=op.f('uq_tenants_slug'))
    )
    op.create_index(op.f('ix_tenants_changed_xid'), 'tenants', ['changed_xid'], unique=False)
    op.create_table('users',
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('username', sa.Text(), nullable=False),
        sa.Column('email', sa.Text(), nullable=False),
        sa.Column('password_hash', sa.Text(), nullable=False),
        sa.Column('is_active', sa.Boolean(), server_default='true', nullable=False),
        sa.Column('role', sa.Text(), server_default='marketer', nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint("role IN ('admin', 'marketer', 'sales')", name=op.f('ck_users_role')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_users')),
        sa.UniqueConstraint('email', name=op.f('uq_users_email')),
        sa.UniqueConstraint('username', name=op.f('uq_users_username'))
    )
    op.create_table('api_keys',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('key_hash', sa.Text(), nullable=False),
        sa.Column('key_prefix', sa.Text(), nullable=False),
        sa.Column('name', sa.Text(), nullable=False),
        sa.Column('role', sa.Text(), server_default='marketer', nullable=False),
        sa.Column('rate_limit', sa.Integer(), server_default='600', nullable=False),
        sa.Column('last_used', sa.DateTime(timezone=True), nullable=True),
        sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint("role IN ('admin', 'marketer', 'sales')", name=op.f('ck_api_keys_role')),
        sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_api_keys_tenant_id_tenants'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_api_keys')),
        sa.UniqueConstraint('tenant_id', 'key_hash', name=op.f('uq_api_keys_tenant_id_key_hash'))
    )
    op.create_index(op.f('ix_api_keys_key_hash'), 'api_keys', ['key_hash'], unique=False)
    op.create_table('contacts',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('phone', sa.Text(), nullable=True),
        sa.Column('name', sa.Text(), nullable=True),
        sa.Column('email', sa.Text(), nullable=True),
        sa.Column('language', sa.Text(), nullable=True),
        sa.Column('timezone', sa.Text(), nullable=True),
        sa.Column('tags', postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column('custom_data', postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column('priority', sa.Text(), server_default='normal', nullable=False),
        sa.Column('source', sa.Text(), server_default='api', nullable=False),
        sa.Column('external_id', sa.Text(), nullable=True),
        sa.Column('status', sa.Text(), server_default='active', nullable=False),
        sa.Column('known_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.CheckConstraint("priority IN ('low', 'normal', 'high')", name=op.f('ck_contacts_priority')),
        sa.CheckConstraint("status IN ('active', 'archived', 'unreachable')", name=op.f('ck_contacts_status')),
        sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_contacts_tenant_id_tenants'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_contacts')),
        sa.UniqueConstraint('tenant_id', 'phone', name=op.f('uq_contacts_tenant_id_phone')),
        sa.UniqueConstraint('tenant_id', 'source', 'external_id', name=op.f('uq_contacts_tenant_id_source_external_id'))
    )
    op.create_index(op.f('ix_contacts_changed_xid'), 'contacts', ['changed_xid'], unique=False)
    op.create_index('ix_contacts_tags', 'contacts', ['tags'], unique=False, postgresql_using='gin')
    op.create_table('import_runs',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('digest', sa.Text(), nullable=False),
        sa.Column('source', sa.Text(), nullable=False),
        sa.Column('state', sa.Text(), server_default='running', nullable=False),
        sa.Column('counts', postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint("state IN ('running', 'completed', 'failed')", name=op.f('ck_import_runs_state')),
        sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_import_runs_tenant_id_tenants'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_import_runs')),
        sa.UniqueConstraint('tenant_id', 'digest', name=op.f('uq_import_runs_tenant_id_digest'))
    )
    op.create_table('inbound_events',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('event_key', sa.Text(), nullable=False),
        sa.Column('kind', sa.Text(), nullable=False),
        sa.Column('provider_number_id', sa.Text(), nullable=False),
        sa.Column('occurred_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('payload', postgresql.JSONB(), nullable=False),
        sa.Column('attempts', sa.Integer(), server_default='0', nullable=False),
        sa.Column('processed_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('error', sa.Text(), nullable=True),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_inbound_events_tenant_id_tenants'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_inbound_events')),
        sa.UniqueConstraint('tenant_id', 'event_key', name=op.f('uq_inbound_events_tenant_id_event_key'))
    )
    op.create_index('ix_inbound_events_pending', 'inbound_events', ['tenant_id', 'received_at'], unique=False, postgresql_where=sa.text('processed_at IS NULL'))
    op.create_table('phone_numbers',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('phone', sa.Text(), nullable=False),
        sa.Column('provider_number_id', sa.Text(), nullable=False),
        sa.Column('business_account_id', sa.Text(), nullable=True),
        sa.Column('driver', sa.Text(), server_default='cloud_api', nullable=False),
        sa.Column('is_whatsapp', sa.Boolean(), server_default='true', nullable=False),
        sa.Column('status', sa.Text(), server_default='active', nullable=False),
        sa.Column('status_reason', sa.Text(), nullable=True),
        sa.Column('quality_score', sa.Text(), server_default='green', nullable=False),
        sa.Column('messaging_tier', sa.Integer(), server_default='100000', nullable=True),
        sa.Column('messages_per_second', sa.Integer(), server_default='80', nullable=False),
        sa.Column('warm_up_started_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('tags', postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint("driver IN ('cloud_api', 'baileys')", name=op.f('ck_phone_numbers_driver')),
        sa.CheckConstraint("status IN ('active', 'stopped')", name=op.f('ck_phone_numbers_status')),
        sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_phone_numbers_tenant_id_tenants'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_phone_numbers')),
        sa.UniqueConstraint('provider_number_id', name=op.f('uq_phone_numbers_provider_number_id')),
        sa.UniqueConstraint('tenant_id', 'phone', name=op.f('uq_phone_numbers_tenant_id_phone'))
    )
    op.create_table('segments',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('name', sa.Text(), nullable=False),
        sa.Column('kind', sa.Text(), nullable=False),
        sa.Column('description', sa.Text(), nullable=True),
        sa.Column('definition', postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column('model_version', sa.Text(), nullable=True),
        sa.Column('member_count', sa.Integer(), server_default='0', nullable=False),
        sa.Column('refreshed_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint("kind IN ('static', 'rule', 'scored')", name=op.f('ck_segments_kind')),
        sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_segments_tenant_id_tenants'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_segments')),
        sa.UniqueConstraint('tenant_id', 'name', name=op.f('uq_segments_tenant_id_name'))
    )
    op.create_table('tenant_users',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('role', sa.Text(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint("role IN ('admin', 'marketer', 'sales')", name=op.f('ck_tenant_users_role')),
        sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_tenant_users_tenant_id_tenants'), ondelete='CASCADE'),
        sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_tenant_users_user_id_users'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_tenant_users')),
        sa.UniqueConstraint('tenant_id', 'user_id', name=op.f('uq_tenant_users_tenant_id_user_id'))
    )
    op.create_table('unsubscribers',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('phone_hmac', sa.Text(), nullable=False),
        sa.Column('reason', sa.Text(), nullable=False),
        sa.Column('date', sa.DateTime(timezone=True), nullable=False),
        sa.Column('campaign_id', sa.Uuid(), nullable=True),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_unsubscribers_tenant_id_tenants'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_unsubscribers')),
        sa.UniqueConstraint('tenant_id', 'phone_hmac', name=op.f('uq_unsubscribers_tenant_id_phone_hmac'))
    )
    op.create_table('campaigns',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('name', sa.Text(), nullable=False),
        sa.Column('type', sa.Text(), server_default='broadcast', nullable=False),
        sa.Column('status', sa.Text(), server_default='draft', nullable=False),
        sa.Column('status_reason', sa.Text(), nullable=True),
        sa.Column('message_template', sa.Text(), nullable=False),
        sa.Column('template_name', sa.Text(), nullable=True),
        sa.Column('template_language', sa.Text(), server_default='en', nullable=False),
        sa.Column('attributes', postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column('conversion_event', sa.Text(), server_default='order', nullable=False),
        sa.Column('attribution_seconds', sa.Integer(), server_default='604800', nullable=False),
        sa.Column('holdout_rate', sa.Double(), server_default='0', nullable=False),
        sa.Column('segment_id', sa.Uuid(), nullable=True),
        sa.Column('phone_number_id', sa.Uuid(), nullable=True),
        sa.Column('start_date', sa.DateTime(timezone=True), nullable=True),
        sa.Column('end_date', sa.DateTime(timezone=True), nullable=True),
        sa.Column('created_by', sa.Uuid(), nullable=True),
        sa.Column('external_id', sa.Text(), nullable=True),
        sa.Column('stats', postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column('known_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.CheckConstraint("conversion_event IN ('order', 'redemption')", name=op.f('ck_campaigns_conversion_event')),
        sa.CheckConstraint("status IN ('draft', 'scheduled', 'running', 'paused', 'completed', 'stopped')", name=op.f('ck_campaigns_status')),
        sa.CheckConstraint("type IN ('broadcast', 'drip', 'nurture', 'followup')", name=op.f('ck_campaigns_type')),
        sa.CheckConstraint('holdout_rate >= 0 AND holdout_rate < 1', name=op.f('ck_campaigns_holdout_rate')),
        sa.ForeignKeyConstraint(['created_by'], ['users.id'], name=op.f('fk_campaigns_created_by_users'), ondelete='SET NULL'),
        sa.ForeignKeyConstraint(['tenant_id', 'phone_number_id'], ['phone_numbers.tenant_id', 'phone_numbers.id'], name=op.f('fk_campaigns_tenant_id_phone_number_id_phone_numbers')),
        sa.ForeignKeyConstraint(['tenant_id', 'segment_id'], ['segments.tenant_id', 'segments.id'], name=op.f('fk_campaigns_tenant_id_segment_id_segments')),
        sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_campaigns_tenant_id_tenants'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_campaigns')),
        sa.UniqueConstraint('tenant_id', 'external_id', name=op.f('uq_campaigns_tenant_id_external_id'))
    )
    op.create_index(op.f('ix_campaigns_changed_xid'), 'campaigns', ['changed_xid'], unique=False)
    op.create_table('consent_events',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('contact_id', sa.Uuid(), nullable=False),
        sa.Column('event_key', sa.Text(), nullable=False),
        sa.Column('purpose', sa.Text(), server_default='marketing', nullable=False),
        sa.Column('status', sa.Text(), nullable=False),
        sa.Column('occurred_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('source', sa.Text(), nullable=False),
        sa.Column('wording', sa.Text(), nullable=True),
        sa.Column('language', sa.Text(), nullable=True),
        sa.Column('proof', postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column('known_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.CheckConstraint("purpose IN ('marketing', 'utility', 'service')", name=op.f('ck_consent_events_purpose')),
        sa.CheckConstraint("status IN ('opted_in', 'opted_out')", name=op.f('ck_consent_events_status')),
        sa.ForeignKeyConstraint(['tenant_id', 'contact_id'], ['contacts.tenant_id', 'contacts.id'], name=op.f('fk_consent_events_tenant_id_contact_id_contacts'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_consent_events')),
        sa.UniqueConstraint('tenant_id', 'event_key', name=op.f('uq_consent_events_tenant_id_event_key'))
    )
    op.create_index(op.f('ix_consent_events_changed_xid'), 'consent_events', ['changed_xid'], unique=False)
    op.create_index(op.f('ix_consent_events_contact_id'), 'consent_events', ['contact_id'], unique=False)
    op.create_table('consents',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('contact_id', sa.Uuid(), nullable=False),
        sa.Column('purpose', sa.Text(), server_default='marketing', nullable=False),
        sa.Column('status', sa.Text(), nullable=False),
        sa.Column('effective_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('source', sa.Text(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.CheckConstraint("purpose IN ('marketing', 'utility', 'service')", name=op.f('ck_consents_purpose')),
        sa.CheckConstraint("status IN ('opted_in', 'opted_out')", name=op.f('ck_consents_status')),
        sa.ForeignKeyConstraint(['tenant_id', 'contact_id'], ['contacts.tenant_id', 'contacts.id'], name=op.f('fk_consents_tenant_id_contact_id_contacts'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_consents')),
        sa.UniqueConstraint('tenant_id', 'contact_id', 'purpose', name=op.f('uq_consents_tenant_id_contact_id_purpose'))
    )
    op.create_index(op.f('ix_consents_changed_xid'), 'consents', ['changed_xid'], unique=False)
    op.create_table('contact_identities',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('contact_id', sa.Uuid(), nullable=False),
        sa.Column('kind', sa.Text(), nullable=False),
        sa.Column('value', sa.Text(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint("kind IN ('phone', 'whatsapp_user_id', 'external')", name=op.f('ck_contact_identities_kind')),
        sa.ForeignKeyConstraint(['tenant_id', 'contact_id'], ['contacts.tenant_id', 'contacts.id'], name=op.f('fk_contact_identities_tenant_id_contact_id_contacts'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_contact_identities')),
        sa.UniqueConstraint('tenant_id', 'kind', 'value', name=op.f('uq_contact_identities_tenant_id_kind_value'))
    )
    op.create_index(op.f('ix_contact_identities_contact_id'), 'contact_identities', ['contact_id'], unique=False)
    op.create_table('conversations',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('contact_id', sa.Uuid(), nullable=False),
        sa.Column('phone_number_id', sa.Uuid(), nullable=True),
        sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('status', sa.Text(), server_default='open', nullable=False),
        sa.Column('last_message_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('window_expires_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('metadata', postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.CheckConstraint("status IN ('open', 'closed', 'archived')", name=op.f('ck_conversations_status')),
        sa.ForeignKeyConstraint(['tenant_id', 'contact_id'], ['contacts.tenant_id', 'contacts.id'], name=op.f('fk_conversations_tenant_id_contact_id_contacts'), ondelete='CASCADE'),
        sa.ForeignKeyConstraint(['tenant_id', 'phone_number_id'], ['phone_numbers.tenant_id', 'phone_numbers.id'], name=op.f('fk_conversations_tenant_id_phone_number_id_phone_numbers')),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_conversations')),
        sa.UniqueConstraint('tenant_id', 'contact_id', 'phone_number_id', name=op.f('uq_conversations_tenant_id_contact_id_phone_number_id'), postgresql_nulls_not_distinct=True)
    )
    op.create_index(op.f('ix_conversations_changed_xid'), 'conversations', ['changed_xid'], unique=False)
    op.create_index('ix_conversations_last_message', 'conversations', ['tenant_id', 'last_message_at'], unique=False)
    op.create_table('orders',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('contact_id', sa.Uuid(), nullable=False),
        sa.Column('external_id', sa.Text(), nullable=False),
        sa.Column('platform', sa.Text(), nullable=False),
        sa.Column('status', sa.Text(), server_default='pending', nullable=False),
        sa.Column('total_cents', sa.BigInteger(), nullable=False),
        sa.Column('currency', sa.Text(), server_default='USD', nullable=False),
        sa.Column('ordered_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('known_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.CheckConstraint("status IN ('pending', 'shipped', 'delivered', 'cancelled')", name=op.f('ck_orders_status')),
        sa.ForeignKeyConstraint(['tenant_id', 'contact_id'], ['contacts.tenant_id', 'contacts.id'], name=op.f('fk_orders_tenant_id_contact_id_contacts'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_orders')),
        sa.UniqueConstraint('tenant_id', 'platform', 'external_id', name=op.f('uq_orders_tenant_id_platform_external_id'))
    )
    op.create_index(op.f('ix_orders_changed_xid'), 'orders', ['changed_xid'], unique=False)
    op.create_index('ix_orders_contact', 'orders', ['tenant_id', 'contact_id', 'ordered_at'], unique=False)
    op.create_table('scores',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('contact_id', sa.Uuid(), nullable=False),
        sa.Column('model', sa.Text(), nullable=False),
        sa.Column('model_version', sa.Text(), nullable=False),
        sa.Column('score', sa.Double(), nullable=False),
        sa.Column('probability', sa.Double(), nullable=False),
        sa.Column('tier', sa.Text(), nullable=False),
        sa.Column('reasons', postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column('feature_snapshot_id', sa.Text(), nullable=False),
        sa.Column('scored_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint('probability BETWEEN 0 AND 1', name=op.f('ck_scores_probability')),
        sa.ForeignKeyConstraint(['tenant_id', 'contact_id'], ['contacts.tenant_id', 'contacts.id'], name=op.f('fk_scores_tenant_id_contact_id_contacts'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_scores')),
        sa.UniqueConstraint('tenant_id', 'model', 'contact_id', name=op.f('uq_scores_tenant_id_model_contact_id'))
    )
    op.create_index('ix_scores_best', 'scores', ['tenant_id', 'model', 'score'], unique=False)
    op.create_table('segment_members',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('segment_id', sa.Uuid(), nullable=False),
        sa.Column('contact_id', sa.Uuid(), nullable=False),
        sa.Column('score', sa.Double(), nullable=True),
        sa.Column('reason', sa.Text(), nullable=True),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.ForeignKeyConstraint(['tenant_id', 'contact_id'], ['contacts.tenant_id', 'contacts.id'], name=op.f('fk_segment_members_tenant_id_contact_id_contacts'), ondelete='CASCADE'),
        sa.ForeignKeyConstraint(['tenant_id', 'segment_id'], ['segments.tenant_id', 'segments.id'], name=op.f('fk_segment_members_tenant_id_segment_id_segments'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_segment_members')),
        sa.UniqueConstraint('tenant_id', 'segment_id', 'contact_id', name=op.f('uq_segment_members_tenant_id_segment_id_contact_id'))
    )
    op.create_table('conversions',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('contact_id', sa.Uuid(), nullable=False),
        sa.Column('campaign_id', sa.Uuid(), nullable=False),
        sa.Column('external_id', sa.Text(), nullable=False),
        sa.Column('value_cents', sa.BigInteger(), nullable=True),
        sa.Column('occurred_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('known_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.ForeignKeyConstraint(['tenant_id', 'campaign_id'], ['campaigns.tenant_id', 'campaigns.id'], name=op.f('fk_conversions_tenant_id_campaign_id_campaigns')),
        sa.ForeignKeyConstraint(['tenant_id', 'contact_id'], ['contacts.tenant_id', 'contacts.id'], name=op.f('fk_conversions_tenant_id_contact_id_contacts'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_conversions')),
        sa.UniqueConstraint('tenant_id', 'external_id', name=op.f('uq_conversions_tenant_id_external_id'))
    )
    op.create_index(op.f('ix_conversions_changed_xid'), 'conversions', ['changed_xid'], unique=False)
    op.create_index(op.f('ix_conversions_contact_id'), 'conversions', ['contact_id'], unique=False)
    op.create_table('decisions',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('campaign_id', sa.Uuid(), nullable=True),
        sa.Column('contact_id', sa.Uuid(), nullable=False),
        sa.Column('outbound_message_id', sa.Uuid(), nullable=True),
        sa.Column('stage', sa.Text(), nullable=False),
        sa.Column('outcome', sa.Text(), nullable=False),
        sa.Column('reason', sa.Text(), nullable=False),
        sa.Column('policy_version', sa.Text(), nullable=False),
        sa.Column('feature_snapshot_id', sa.Text(), nullable=True),
        sa.Column('model_name', sa.Text(), nullable=True),
        sa.Column('model_version', sa.Text(), nullable=True),
        sa.Column('score', sa.Double(), nullable=True),
        sa.Column('assignment_probability', sa.Double(), nullable=True),
        sa.Column('decided_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.CheckConstraint("outcome IN ('send', 'hold_out', 'suppress', 'defer')", name=op.f('ck_decisions_outcome')),
        sa.ForeignKeyConstraint(['tenant_id', 'campaign_id'], ['campaigns.tenant_id', 'campaigns.id'], name=op.f('fk_decisions_tenant_id_campaign_id_campaigns')),
        sa.ForeignKeyConstraint(['tenant_id', 'contact_id'], ['contacts.tenant_id', 'contacts.id'], name=op.f('fk_decisions_tenant_id_contact_id_contacts'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_decisions'))
    )
    op.create_index('ix_decisions_campaign', 'decisions', ['tenant_id', 'campaign_id', 'contact_id'], unique=False)
    op.create_index(op.f('ix_decisions_changed_xid'), 'decisions', ['changed_xid'], unique=False)
    op.create_table('messages',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('contact_id', sa.Uuid(), nullable=False),
        sa.Column('conversation_id', sa.Uuid(), nullable=False),
        sa.Column('campaign_id', sa.Uuid(), nullable=True),
        sa.Column('direction', sa.Text(), nullable=False),
        sa.Column('kind', sa.Text(), server_default='text', nullable=False),
        sa.Column('text', sa.Text(), nullable=True),
        sa.Column('status', sa.Text(), nullable=False),
        sa.Column('timestamp', sa.DateTime(timezone=True), nullable=False),
        sa.Column('provider_id', sa.Text(), nullable=False),
        sa.Column('reply_to_provider_id', sa.Text(), nullable=True),
        sa.Column('template_name', sa.Text(), nullable=True),
        sa.Column('media_url', sa.Text(), nullable=True),
        sa.Column('error_code', sa.Integer(), nullable=True),
        sa.Column('known_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.CheckConstraint("direction IN ('inbound', 'outbound')", name=op.f('ck_messages_direction')),
        sa.CheckConstraint("status IN ('pending', 'sent', 'delivered', 'read', 'failed')", name=op.f('ck_messages_status')),
        sa.ForeignKeyConstraint(['tenant_id', 'campaign_id'], ['campaigns.tenant_id', 'campaigns.id'], name=op.f('fk_messages_tenant_id_campaign_id_campaigns')),
        sa.ForeignKeyConstraint(['tenant_id', 'contact_id'], ['contacts.tenant_id', 'contacts.id'], name=op.f('fk_messages_tenant_id_contact_id_contacts'), ondelete='CASCADE'),
        sa.ForeignKeyConstraint(['tenant_id', 'conversation_id'], ['conversations.tenant_id', 'conversations.id'], name=op.f('fk_messages_tenant_id_conversation_id_conversations'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_messages')),
        sa.UniqueConstraint('tenant_id', 'provider_id', name=op.f('uq_messages_tenant_id_provider_id'))
    )
    op.create_index(op.f('ix_messages_campaign_id'), 'messages', ['campaign_id'], unique=False)
    op.create_index(op.f('ix_messages_changed_xid'), 'messages', ['changed_xid'], unique=False)
    op.create_index('ix_messages_contact', 'messages', ['tenant_id', 'contact_id', 'timestamp'], unique=False)
    op.create_index('ix_messages_conversation', 'messages', ['tenant_id', 'conversation_id', 'timestamp'], unique=False)
    op.create_index('ix_messages_timestamp', 'messages', ['tenant_id', 'timestamp'], unique=False)
    op.create_table('order_items',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('order_id', sa.Uuid(), nullable=False),
        sa.Column('name', sa.Text(), nullable=False),
        sa.Column('quantity', sa.Integer(), nullable=False),
        sa.Column('price_cents', sa.BigInteger(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.ForeignKeyConstraint(['tenant_id', 'order_id'], ['orders.tenant_id', 'orders.id'], name=op.f('fk_order_items_tenant_id_order_id_orders'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_order_items'))
    )
    op.create_index(op.f('ix_order_items_changed_xid'), 'order_items', ['changed_xid'], unique=False)
    op.create_index(op.f('ix_order_items_order_id'), 'order_items', ['order_id'], unique=False)
    op.create_table('outbound_messages',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('campaign_id', sa.Uuid(), nullable=True),
        sa.Column('contact_id', sa.Uuid(), nullable=False),
        sa.Column('step', sa.Integer(), server_default='0', nullable=False),
        sa.Column('phone_number_id', sa.Uuid(), nullable=False),
        sa.Column('purpose', sa.Text(), server_default='marketing', nullable=False),
        sa.Column('payload', postgresql.JSONB(), nullable=False),
        sa.Column('payload_hash', sa.Text(), nullable=False),
        sa.Column('state', sa.Text(), server_default='queued', nullable=False),
        sa.Column('reason', sa.Text(), nullable=True),
        sa.Column('attempt', sa.Integer(), server_default='0', nullable=False),
        sa.Column('lease_until', sa.DateTime(timezone=True), nullable=True),
        sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('provider_id', sa.Text(), nullable=True),
        sa.Column('accepted_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.CheckConstraint("purpose IN ('marketing', 'utility', 'service')", name=op.f('ck_outbound_messages_purpose')),
        sa.CheckConstraint("state IN ('queued', 'sending', 'accepted', 'sent', 'delivered', 'read', 'failed', 'suppressed', 'unknown')", name=op.f('ck_outbound_messages_state')),
        sa.ForeignKeyConstraint(['tenant_id', 'campaign_id'], ['campaigns.tenant_id', 'campaigns.id'], name=op.f('fk_outbound_messages_tenant_id_campaign_id_campaigns')),
        sa.ForeignKeyConstraint(['tenant_id', 'contact_id'], ['contacts.tenant_id', 'contacts.id'], name=op.f('fk_outbound_messages_tenant_id_contact_id_contacts'), ondelete='CASCADE'),
        sa.ForeignKeyConstraint(['tenant_id', 'phone_number_id'], ['phone_numbers.tenant_id', 'phone_numbers.id'], name=op.f('fk_outbound_messages_tenant_id_phone_number_id_phone_numbers')),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_outbound_messages')),
        sa.UniqueConstraint('tenant_id', 'campaign_id', 'contact_id', 'step', name=op.f('uq_outbound_messages_tenant_id_campaign_id_contact_id_step'))
    )
    op.create_index(op.f('ix_outbound_messages_changed_xid'), 'outbound_messages', ['changed_xid'], unique=False)
    op.create_index('ix_outbound_messages_due', 'outbound_messages', ['tenant_id', 'due_at'], unique=False, postgresql_where=sa.text("state IN ('queued', 'sending')"))
    op.create_index('ix_outbound_messages_provider', 'outbound_messages', ['tenant_id', 'provider_id'], unique=False)
    op.create_table('message_status_events',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('message_id', sa.Uuid(), nullable=False),
        sa.Column('status', sa.Text(), nullable=False),
        sa.Column('occurred_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('error_code', sa.Integer(), nullable=True),
        sa.Column('known_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.CheckConstraint("status IN ('sent', 'delivered', 'read', 'failed')", name=op.f('ck_message_status_events_status')),
        sa.ForeignKeyConstraint(['tenant_id', 'message_id'], ['messages.tenant_id', 'messages.id'], name=op.f('fk_message_status_events_tenant_id_message_id_messages'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_message_status_events')),
        sa.UniqueConstraint('tenant_id', 'message_id', 'status', name=op.f('uq_message_status_events_tenant_id_message_id_status'))
    )
    op.create_index(op.f('ix_message_status_events_changed_xid'), 'message_status_events', ['changed_xid'], unique=False)
    op.create_table('replies',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('message_id', sa.Uuid(), nullable=False),
        sa.Column('contact_id', sa.Uuid(), nullable=False),
        sa.Column('in_reply_to_id', sa.Uuid(), nullable=True),
        sa.Column('campaign_id', sa.Uuid(), nullable=True),
        sa.Column('text', sa.Text(), nullable=True),
        sa.Column('timestamp', sa.DateTime(timezone=True), nullable=False),
        sa.Column('classification', sa.Text(), nullable=True),
        sa.Column('sentiment_score', sa.Double(), nullable=True),
        sa.Column('known_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('changed_xid', Xid8(), server_default=sa.text('pg_current_xact_id()'), nullable=False),
        sa.CheckConstraint("classification IN ('interested', 'not_interested', 'question', 'unsubscribe')", name=op.f('ck_replies_classification')),
        sa.ForeignKeyConstraint(['tenant_id', 'campaign_id'], ['campaigns.tenant_id', 'campaigns.id'], name=op.f('fk_replies_tenant_id_campaign_id_campaigns')),
        sa.ForeignKeyConstraint(['tenant_id', 'contact_id'], ['contacts.tenant_id', 'contacts.id'], name=op.f('fk_replies_tenant_id_contact_id_contacts'), ondelete='CASCADE'),
        sa.ForeignKeyConstraint(['tenant_id', 'in_reply_to_id'], ['messages.tenant_id', 'messages.id'], name=op.f('fk_replies_tenant_id_in_reply_to_id_messages'), ondelete='CASCADE'),
        sa.ForeignKeyConstraint(['tenant_id', 'message_id'], ['messages.tenant_id', 'messages.id'], name=op.f('fk_replies_tenant_id_message_id_messages'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_replies')),
        sa.UniqueConstraint('tenant_id', 'message_id', name=op.f('uq_replies_tenant_id_message_id'))
    )
    op.create_index(op.f('ix_replies_campaign_id'), 'replies', ['campaign_id'], unique=False)
    op.create_index(op.f('ix_replies_changed_xid'), 'replies', ['changed_xid'], unique=False)
    op.create_index(op.f('ix_replies_contact_id'), 'replies', ['contact_id'], unique=False)
    op.create_table('send_attempts',
        sa.Column('tenant_id', sa.Uuid(), nullable=False),
        sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
        sa.Column('outbound_message_id', sa.Uuid(), nullable=False),
        sa.Column('attempt', sa.Integer(), nullable=False),
        sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('finished_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('outcome', sa.Text(), nullable=False),
        sa.Column('provider_id', sa.Text(), nullable=True),
        sa.Column('error_code', sa.Integer(), nullable=True),
        sa.Column('error_detail', sa.Text(), nullable=True),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.ForeignKeyConstraint(['tenant_id', 'outbound_message_id'], ['outbound_messages.tenant_id', 'outbound_messages.id'], name=op.f('fk_send_attempts_tenant_id_outbound_message_id_outbound_messages'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('tenant_id', 'id', name=op.f('pk_send_attempts')),
        sa.UniqueConstraint('tenant_id', 'outbound_message_id', 'attempt', name=op.f('uq_send_attempts_tenant_id_outbound_message_id_attempt'))
    )
