"""Every model on DuckDB and on PostgreSQL, built once, again after changes, after an erasure, and after a kill: the
same rows each time, and the same as a build from nothing gives."""

from __future__ import annotations

import datetime as dt
import subprocess
from dataclasses import dataclass

import polars as pl
import pytest

# In the middle of the history, so that each later run adds days to contacts that nothing happened to.
FIRST, SECOND, THIRD, FOURTH = (dt.datetime(2026, 1, day, 3, tzinfo=dt.UTC) for day in (10, 12, 20, 21))
CHANGED = "intermediate.int_contacts__changed"
# Unit tests bring their own rows: once on each engine, with the first build, says all they have to say.
AGAIN = ("build", "--exclude-resource-type", "unit_test")

LATE_AND_CORRECTED = """
    -- A read and an order of weeks ago become known; an order is cancelled, another moves to another day.
    INSERT INTO message_status_events (tenant_id, message_id, status, occurred_at, known_at)
        SELECT tenant_id, id, 'read', timestamp + interval '2 hours', '2026-01-11Z' FROM messages
        WHERE provider_id = 'hand-3';
    INSERT INTO orders (tenant_id, contact_id, external_id, platform, status, total_cents, ordered_at, known_at)
        SELECT tenant_id, contact_id, 'late', 'shop', 'delivered', 1234, timestamp + interval '1 day', '2026-01-11Z'
        FROM messages WHERE provider_id = 'hand-1';
    UPDATE orders SET status = 'cancelled' WHERE external_id = 'hand';
    UPDATE orders SET ordered_at = ordered_at - interval '1 day'
        WHERE id = (SELECT min(id::text)::uuid FROM orders WHERE contact_id = history_id('contact', 'theirs', 3));
    -- A line is added to an order, a fact of a contact is corrected, somebody opts out.
    INSERT INTO order_items (tenant_id, order_id, name, quantity, price_cents)
        SELECT tenant_id, id, 'Thing', 2, 50 FROM orders WHERE external_id = 'late';
    UPDATE contacts SET custom_data = '{"age": 7}' WHERE id = history_id('contact', 'ours', 4);
    INSERT INTO consent_events (tenant_id, contact_id, event_key, purpose, status, occurred_at, source, known_at)
        SELECT id, history_id('contact', 'ours', 31), 'out', 'marketing', 'opted_out', '2026-01-05Z', 'reply',
            '2026-01-11Z' FROM tenants WHERE slug = 'ours';
    -- A campaign that did not exist, and its sends.
    INSERT INTO campaigns (tenant_id, id, name, message_template, attributes, attribution_seconds, known_at)
        SELECT id, history_id('campaign', 'ours', 3), 'Campaign 3', 'Hello', '{}', 86400, '2026-01-11Z'
        FROM tenants WHERE slug = 'ours';
    SELECT by_hand(32, 3, '2026-01-11 08:00Z', 'hand-4'), by_hand(40, 3, '2026-01-11 08:00Z', 'hand-5');
    -- What happened since the last day built, and no more: a send and its order.
    SELECT by_hand(38, 1, '2026-01-11 08:00Z', 'hand-8');
    INSERT INTO orders (tenant_id, contact_id, external_id, platform, status, total_cents, ordered_at, known_at)
        SELECT tenant_id, contact_id, 'since', 'shop', 'delivered', 700, '2026-01-11 12:00Z', '2026-01-11 12:00Z'
        FROM messages WHERE provider_id = 'hand-8';
"""
SETTINGS_AND_ERASURE = """
    -- A send that becomes known after the order of days ago that it takes from another.
    SELECT by_hand(38, 1, '2026-01-11 10:00Z', 'hand-9');
    UPDATE messages SET known_at = '2026-01-13Z' WHERE provider_id = 'hand-9';
    UPDATE tenants SET timezone = 'Asia/Tokyo' WHERE slug = 'theirs';
    UPDATE campaigns SET attribution_seconds = 86400 WHERE id = history_id('campaign', 'ours', 2);
    DELETE FROM contacts WHERE id = history_id('contact', 'ours', 5);
    DELETE FROM orders WHERE id = (
        SELECT min(id::text)::uuid FROM orders WHERE contact_id = history_id('contact', 'ours', 7));
"""
ONE_MORE_DAY = """
    SELECT by_hand(31, 1, '2026-01-20 09:00Z', 'hand-6'), by_hand(39, 1, '2026-01-20 09:00Z', 'hand-7');
    UPDATE tenants SET timezone = 'Europe/Berlin' WHERE slug = 'ours';
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Built:
    """Every model's rows by engine, and built from nothing."""

    duckdb: dict[str, pl.DataFrame]
    postgres: dict[str, pl.DataFrame]
    whole: dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def twins(make_twins):
    return make_twins()


@pytest.fixture(scope="module")
def first(twins):
    twins.ingest(FIRST)
    rows = twins.built(twins.duckdb, FIRST, "build")
    return Built(rows, twins.built(twins.postgres, FIRST, "build"), rows)


@pytest.fixture(scope="module")
def second(twins, first):
    twins.change(LATE_AND_CORRECTED)
    twins.ingest(SECOND)
    return Built(
        twins.built(twins.duckdb, SECOND, *AGAIN),
        twins.built(twins.postgres, SECOND, *AGAIN),
        twins.built_whole(SECOND),
    )


@pytest.fixture(scope="module")
def third(twins, second):
    twins.change(SETTINGS_AND_ERASURE)
    twins.ingest(THIRD)
    return Built(
        twins.built(twins.duckdb, THIRD, *AGAIN),
        twins.built(twins.postgres, THIRD, *AGAIN),
        twins.built_whole(THIRD),
    )


def differences(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame], leave: tuple[str, ...] = ()) -> list[str]:
    """Models whose rows differ, with how many rows each has; floats may differ by 1e-12 of themselves."""
    found = [f"{name} is on one side only" for name in set(one) ^ set(other)]
    for name in sorted(set(one) & set(other) - set(leave)):
        left, right = one[name], other[name]
        if left.columns != right.columns or left.height != right.height:
            found.append(f"{name}: {left.shape} and {right.shape}")
            continue
        for column in left.columns:
            if not left[column].equals(right[column]) and not close(left[column], right[column]):
                found.append(f"{name}.{column} of {left.height} rows")
    return found


def close(one: pl.Series, other: pl.Series) -> bool:
    if one.dtype != pl.Float64 or other.dtype != pl.Float64 or one.null_count() != other.null_count():
        return False
    apart = (one - other).abs() / pl.DataFrame(
        [one.abs(), other.abs(), pl.Series("one", [1.0] * len(one))]
    ).max_horizontal()
    return bool((one.is_null() == other.is_null()).all() and (apart.drop_nulls() <= 1e-12).all())


class TestBothEngines:
    def test_a_first_build_gives_the_same_rows(self, first):
        assert differences(first.duckdb, first.postgres) == []
        filled = {name for name, rows in first.duckdb.items() if rows.height}
        assert {"features.contact_messaging_daily", "features.contact_timing_daily", "marts.fct_sends"} <= filled
        assert len(first.duckdb) > 30

    def test_late_rows_corrections_and_a_new_campaign_give_the_same_rows(self, second):
        assert differences(second.duckdb, second.postgres) == []

    def test_new_settings_and_an_erasure_give_the_same_rows(self, third):
        assert differences(third.duckdb, third.postgres) == []


class TestSecondRun:
    def test_it_gives_what_a_build_from_nothing_gives(self, second):
        assert differences(second.duckdb, second.whole, leave=(CHANGED,)) == []

    def test_it_rebuilds_only_the_contacts_something_happened_to(self, second, first):
        # 4, 31, 32, 38, 40 of ours and 3 of theirs.
        assert second.duckdb[CHANGED].height == 6
        assert (
            first.duckdb["features.contact_orders_daily"].height
            != second.duckdb["features.contact_orders_daily"].height
        )

    def test_new_settings_and_an_erasure_give_what_a_build_from_nothing_gives(self, third):
        assert differences(third.duckdb, third.whole, leave=(CHANGED,)) == []

    def test_nothing_is_left_of_an_erased_contact(self, third, second, twins):
        erased = twins.postgres.query("SELECT contact_id FROM raw.deletions WHERE table_name = 'contacts'")
        (contact,) = erased["contact_id"].to_list()

        def named(rows: pl.DataFrame) -> int:
            return rows.filter(pl.col("contact_id") == contact).height if "contact_id" in rows.columns else 0

        assert sum(named(rows) for rows in second.duckdb.values()) > 50
        for built in (third.duckdb, third.postgres):
            assert {name for name, rows in built.items() if named(rows)} <= {CHANGED}

    def test_a_build_in_sixteen_parts_gives_what_one_in_one_gives(self, third, twins):
        assert differences(twins.built_whole(THIRD, contacts_a_part=10), third.whole) == []

    def test_a_run_without_news_changes_nothing(self, third, twins):
        again = twins.built(twins.duckdb, THIRD, *AGAIN)

        assert differences(again, third.duckdb, leave=(CHANGED,)) == []


def test_a_killed_run_is_done_again(third, twins):
    twins.change(ONE_MORE_DAY)
    twins.ingest(FOURTH)
    command, environment = twins.command(twins.postgres, FOURTH, "run")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "OK created" in line and "contact_messaging_daily" in line:
            process.kill()
            break
    process.wait()
    assert process.returncode < 0, "".join(said)
    marks = twins.postgres.query("SELECT DISTINCT load_id FROM staging._model_watermarks")

    after = twins.built(twins.postgres, FOURTH, "run")

    assert marks.height == 1  # those of the run before
    assert differences(after, twins.built_whole(FOURTH), leave=(CHANGED,)) == []
