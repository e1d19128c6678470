from __future__ import annotations

import datetime as dt

import psycopg
import pytest

from serving.kit.database import Database
from serving.segment import service

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def door(database):
    door = Database(database.app)
    yield door
    door.dispose()


@pytest.fixture
def scored(database):
    """A tenant with ten contacts scored 10, 20, ... 100 by version 3; the one scored 90 is archived."""
    tenant = database.add_tenant()
    with psycopg.connect(database.admin) as connection:
        connection.execute(
            "INSERT INTO contacts (tenant_id, name, tags, status) SELECT %s, n::text, ARRAY['all', 'mod' || n %% 3],"
            " CASE n WHEN 9 THEN 'archived' ELSE 'active' END FROM generate_series(1, 10) n",
            (tenant,),
        )
        score(connection, tenant, "name::int * 10")
    return tenant


def score(connection, tenant, expression):
    connection.execute(
        "INSERT INTO scores (tenant_id, contact_id, model, model_version, score, probability, tier,"
        f" feature_snapshot_id, scored_at) SELECT tenant_id, id, 'lead_scoring', '3', {expression}, 0.5, 'warm', 's',"
        " now() FROM contacts"
        " WHERE tenant_id = %s ON CONFLICT (tenant_id, model, contact_id) DO UPDATE SET score = excluded.score",
        (tenant,),
    )


def names(database, segment):
    with psycopg.connect(database.admin) as connection:
        rows = connection.execute(
            "SELECT c.name FROM segment_members m JOIN contacts c ON (c.tenant_id, c.id) = (m.tenant_id, m.contact_id)"
            " WHERE m.segment_id = %s ORDER BY m.score DESC NULLS LAST, c.name",
            (segment.id,),
        ).fetchall()
    return [name for (name,) in rows]


class TestCreateScored:
    def test_holds_the_active_contacts_from_the_threshold_on(self, door, scored, database):
        with door.tenant(scored) as session:
            segment = service.create_scored(session, "hot", "lead_scoring", min_score=80, now=NOW)
        assert names(database, segment) == ["10", "8"]
        assert (segment.member_count, segment.model_version, segment.refreshed_at) == (2, "3", NOW)

    @pytest.mark.parametrize(("fraction", "expected"), [(0.2, ["10", "8"]), (0.3, ["10", "8", "7"]), (0.01, ["10"])])
    def test_a_fraction_is_of_the_active_contacts_and_rounded_up(self, door, scored, database, fraction, expected):
        with door.tenant(scored) as session:
            segment = service.create_scored(session, "best", "lead_scoring", top_fraction=fraction, now=NOW)
        assert names(database, segment) == expected

    def test_those_who_entered_a_tier_lately(self, door, scored, database):
        with psycopg.connect(database.admin) as connection:
            connection.execute(
                "UPDATE scores SET tier = 'hot', tier_since = %s - make_interval(days => CAST(score AS int) / 10)"
                " WHERE tenant_id = %s AND score >= 60",
                (NOW, scored),
            )
        with door.tenant(scored) as session:
            hot = service.create_scored(session, "hot", "lead_scoring", tiers=["hot"], now=NOW)
            new = service.create_scored(
                session, "newly hot", "lead_scoring", tiers=["hot"], tier_entered_within_days=8, now=NOW
            )
            best = service.create_scored(
                session, "best newly hot", "lead_scoring", top_fraction=0.3, tier_entered_within_days=8, now=NOW
            )
        assert names(database, hot) == ["10", "8", "7", "6"]
        assert names(database, new) == ["8", "7", "6"]
        # The best three are 10, 8 and 7, of whom 10 has been hot for longer.
        assert names(database, best) == ["8", "7"]
        with door.tenant(scored) as session:
            assert service.refresh(session, new.id, NOW + dt.timedelta(days=1)).member_count == 2

    def test_a_tier_of_another_model_is_refused(self, door, scored):
        with (
            pytest.raises(ValueError, match="churn has the tiers high, medium, low, not hot"),
            door.tenant(scored) as s,
        ):
            service.create_scored(s, "bad", "churn", tiers=["hot"], now=NOW)

    def test_without_scores_is_empty(self, door, scored, database):
        with door.tenant(scored) as session:
            segment = service.create_scored(session, "leaving", "churn", min_score=0, now=NOW)
        assert (names(database, segment), segment.member_count, segment.model_version) == ([], 0, None)

    @pytest.mark.parametrize("bounds", [{}, {"min_score": 80, "top_fraction": 0.1}, {"top_fraction": 0}])
    def test_needs_exactly_one_bound(self, door, scored, bounds):
        with pytest.raises(ValueError, match=r"min_score|top_fraction"), door.tenant(scored) as session:
            service.create_scored(session, "bad", "lead_scoring", **bounds, now=NOW)

    def test_a_name_is_used_once(self, door, scored):
        with door.tenant(scored) as session:
            service.create_scored(session, "hot", "lead_scoring", min_score=80, now=NOW)
        with pytest.raises(service.SegmentExists), door.tenant(scored) as session:
            service.create_scored(session, "hot", "lead_scoring", min_score=90, now=NOW)


class TestRefresh:
    def test_follows_the_scores_and_leaves_who_stays(self, door, scored, database):
        with door.tenant(scored) as session:
            segment = service.create_scored(session, "hot", "lead_scoring", min_score=80, now=NOW)
        with psycopg.connect(database.admin) as connection:
            score(connection, scored, "CASE name WHEN '10' THEN 100 WHEN '1' THEN 85 ELSE 5 END")
            before = connection.execute("SELECT xmin::text FROM segment_members WHERE score = 100").fetchall()
        later = NOW + dt.timedelta(days=1)
        with door.tenant(scored) as session:
            refreshed = service.refresh(session, segment.id, later)
        assert names(database, refreshed) == ["10", "1"]
        assert (refreshed.member_count, refreshed.refreshed_at) == (2, later)
        with psycopg.connect(database.admin) as connection:
            assert connection.execute("SELECT xmin::text FROM segment_members WHERE score = 100").fetchall() == before

    def test_a_strangers_is_not_found(self, door, scored, database):
        with door.tenant(scored) as session:
            segment = service.create_scored(session, "hot", "lead_scoring", min_score=80, now=NOW)
        with pytest.raises(service.SegmentNotFound), door.tenant(database.add_tenant()) as session:
            service.refresh(session, segment.id, NOW)


class TestRefreshEveryScored:
    def test_all_of_the_tenants_and_nothing_else(self, door, scored, database):
        other = database.add_tenant()
        listed = service.RuleDefinition(kind="rule", all_tags=["all"])
        with door.tenant(scored) as session:
            hot = service.create_scored(session, "hot", "lead_scoring", min_score=80, now=NOW)
            best = service.create_scored(session, "best", "lead_scoring", top_fraction=0.1, now=NOW)
            rule = service.create(session, "all", listed, description=None, now=NOW)
        with door.tenant(other) as session:
            theirs = service.create_scored(session, "hot", "lead_scoring", min_score=80, now=NOW)
        with psycopg.connect(database.admin) as connection:
            score(connection, scored, "CASE name WHEN '1' THEN 85 ELSE 5 END")
        later = NOW + dt.timedelta(days=1)
        with door.tenant(scored) as session:
            found = service.refresh_every_scored(session, later)
            assert {segment.name: segment.member_count for segment in found} == {"hot": 1, "best": 1}
            assert {segment.refreshed_at for segment in found} == {later}
            assert service.get(session, rule.id).refreshed_at == NOW
        assert (names(database, hot), names(database, best)) == (["1"], ["1"])
        with door.tenant(other) as session:
            assert service.get(session, theirs.id).refreshed_at == NOW


class TestEndpoints:
    def test_a_rule_segment_lives_its_life(self, api, as_admin, as_stranger):
        for number, tags in enumerate((["a"], ["a", "b"], ["b"], ["a", "c"])):
            api.post("/api/v1/contacts/", headers=as_admin, json={"phone": f"+99930000000{number}", "tags": tags})
        definition = {"kind": "rule", "all_tags": ["a"], "no_tags": ["c"]}
        made = api.post("/api/v1/segments/", headers=as_admin, json={"name": "a not c", "definition": definition})
        assert (made.status_code, made.json()["member_count"]) == (201, 2)
        path = f"/api/v1/segments/{made.json()['id']}"
        assert api.get(f"{path}/members", headers=as_admin).json()["pagination"]["total"] == 2
        api.post("/api/v1/contacts/", headers=as_admin, json={"phone": "+999300000009", "tags": ["a"]})
        assert api.post(f"{path}/refresh", headers=as_admin).json()["member_count"] == 3
        for method, suffix in (("GET", ""), ("DELETE", ""), ("POST", "/refresh"), ("GET", "/members")):
            assert api.request(method, path + suffix, headers=as_stranger).status_code == 404
        assert api.delete(path, headers=as_admin).status_code == 204
        assert api.get(path, headers=as_admin).status_code == 404

    def test_a_list_takes_in_only_the_tenants_own_contacts(self, api, as_admin, as_stranger):
        ours = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": "+999300000021"}).json()["id"]
        theirs = api.post("/api/v1/contacts/", headers=as_stranger, json={"phone": "+999300000022"}).json()["id"]
        definition = {"kind": "static", "contact_ids": [ours, theirs]}
        made = api.post("/api/v1/segments/", headers=as_admin, json={"name": "list", "definition": definition}).json()
        members = api.get(f"/api/v1/segments/{made['id']}/members", headers=as_admin).json()["items"]
        assert [member["contact_id"] for member in members] == [ours]
        assert api.post(f"/api/v1/segments/{made['id']}/refresh", headers=as_admin).json()["member_count"] == 1

    def test_sales_may_look_but_not_make(self, api, tenant, as_admin):
        keys = f"/api/v1/tenants/{tenant.tenant_id}/api-keys"
        sales = {"X-API-Key": api.post(keys, headers=as_admin, json={"name": "s", "access": "sales"}).json()["secret"]}
        body = {"name": "x", "definition": {"kind": "rule"}}
        assert api.post("/api/v1/segments/", headers=sales, json=body).status_code == 403
        assert api.get("/api/v1/segments/", headers=sales).status_code == 200
