"""A tenant whose rows failed keeps its last publication; the others go on, and each is told what concerns it."""

from __future__ import annotations

import datetime as dt
import uuid

import pyarrow as pa
import pytest

from serving.publication.notes import Note, SetAside

HOUR = dt.timedelta(hours=1)
FIRST = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)
WHY = "assert_orders_add_up failed (1 row)"
NOTES = "SELECT snapshot_id, as_of, published_at, held_because, set_aside FROM marts.publication_notes"
AMOUNTS = "SELECT amount FROM marts.a_mart ORDER BY amount"


def mart(tenants, amount, **more):
    return pa.table({"tenant_id": [str(tenant) for tenant in tenants], "amount": [amount] * len(tenants)} | more)


@pytest.fixture
def hour(publish, tenants):
    """Publishes the figures of some hour, each amount telling which, `theirs` being held."""

    def hour(number: int, notes=None, **more):
        at = FIRST + number * HOUR
        return publish(f"s{number}", at, at, notes, a_mart=mart(tenants, number, **more))

    return hour


class TestHeld:
    def test_its_rows_are_those_of_its_last_publication_and_the_others_are_new(self, hour, seen, tenants):
        ours, theirs = tenants
        hour(1)
        (table,) = hour(2, {str(theirs): Note(WHY)})
        assert (seen(AMOUNTS, ours), seen(AMOUNTS, theirs)) == ([(2,)], [(1,)])
        assert (seen(NOTES, ours), seen(NOTES, theirs)) == ([], [("s1", FIRST + HOUR, FIRST + HOUR, WHY, [])])
        assert table.rows == 2

    def test_it_stays_at_it_while_it_is_held_and_then_goes_on(self, hour, seen, tenants):
        theirs = tenants[1]
        hour(1)
        hour(2, {str(theirs): Note(WHY)})
        hour(3, {str(theirs): Note("another")})
        assert seen(AMOUNTS, theirs) == [(1,)]
        assert seen(NOTES, theirs) == [("s1", FIRST + HOUR, FIRST + HOUR, "another", [])]
        hour(4)
        assert (seen(AMOUNTS, theirs), seen(NOTES, theirs)) == ([(4,)], [])

    def test_a_column_it_had_not_is_empty(self, hour, seen, tenants):
        hour(1)
        hour(2, {str(tenants[1]): Note(WHY)}, word=["a", "b"])
        query = "SELECT amount, word FROM marts.a_mart"
        assert (seen(query, tenants[0]), seen(query, tenants[1])) == ([(2, "a")], [(1, None)])

    @pytest.mark.parametrize(
        ("column", "rows"),
        [
            (pa.array([0.5, 0.5]), [(1, None)]),
            (pa.array([FIRST, FIRST], pa.timestamp("us", "UTC")), [(1, None)]),
            (pa.array([7, 8], pa.int64()), [(1, 8)]),
        ],
    )
    def test_a_column_of_another_type_is_empty(self, hour, seen, tenants, column, rows):
        hour(1, value=pa.array([7, 8], pa.int64()))
        hour(2, {str(tenants[1]): Note(WHY)}, value=column)
        assert seen("SELECT amount, value FROM marts.a_mart", tenants[1]) == rows

    @pytest.mark.parametrize("kind", [pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.uint64(), pa.decimal128(24, 4)])
    def test_every_type_is_its_own(self, hour, seen, tenants, kind):
        value = pa.array([0, 0], pa.int64()).cast(kind)
        hour(1, value=value)
        hour(2, {str(tenants[1]): Note(WHY)}, value=value)
        ((kept,),) = seen("SELECT value IS NOT NULL FROM marts.a_mart", tenants[1])
        assert kept

    def test_a_mart_it_had_not_has_none_of_its_rows(self, publish, seen, tenants):
        publish("s1", a_mart=mart(tenants, 1))
        publish("s2", notes={str(tenants[1]): Note(WHY)}, new_mart=mart(tenants, 2))
        query = "SELECT amount FROM marts.new_mart"
        assert (seen(query, tenants[0]), seen(query, tenants[1])) == ([(2,)], [])

    def test_one_nothing_was_published_of_is_told_why(self, hour, seen, tenants):
        hour(1)
        stranger = uuid.uuid4()
        hour(2, {str(stranger): Note(WHY)})
        assert seen(NOTES, stranger) == [("s1", FIRST + HOUR, FIRST + HOUR, WHY, [])]


def test_a_tenant_reads_what_was_set_aside_of_its_own_rows(hour, seen, tenants):
    left_out = (SetAside("messages", "column_values_to_be_between (timestamp)", 3),)
    hour(1, {str(tenants[1]): Note(set_aside=left_out)})
    told = [{"table": "messages", "reason": "column_values_to_be_between (timestamp)", "rows": 3}]
    assert (seen(NOTES, tenants[0]), seen(NOTES, tenants[1])) == ([], [(None, None, None, None, told)])
    assert seen(AMOUNTS, tenants[1]) == [(1,)]
