from __future__ import annotations

import itertools
import json
import urllib.parse

import psycopg
import pytest

_numbers = itertools.count(1)


def phone() -> str:
    return f"+999200{next(_numbers):06d}"


@pytest.fixture
def contact(api, as_admin):
    return api.post(
        "/api/v1/contacts/", headers=as_admin, json={"phone": phone(), "name": "Ada", "tags": ["vip"]}
    ).json()


class TestCreate:
    def test_a_contact_is_kept_with_its_phone_as_e164(self, api, as_admin):
        number = phone()
        spaced = f"{number[:4]} {number[4:8]}-{number[8:]}"
        made = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": spaced, "custom_data": {"age": 30}})
        assert made.status_code == 201
        assert made.json()["phone"] == number
        assert made.json()["marketing_consent"] == "none"
        assert api.get(f"/api/v1/contacts/{made.json()['id']}", headers=as_admin).json() == made.json()

    def test_a_second_contact_with_the_phone_is_a_conflict(self, api, as_admin, contact):
        again = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": contact["phone"]})
        assert (again.status_code, again.headers["content-type"]) == (409, "application/problem+json")

    def test_the_phone_of_another_tenants_contact_is_free(self, api, as_stranger, contact):
        made = api.post("/api/v1/contacts/", headers=as_stranger, json={"phone": contact["phone"]})
        assert made.status_code == 201

    @pytest.mark.parametrize("extra", ["tenant_id", "role", "id", "marketing_consent"])
    def test_a_field_that_is_not_the_callers_to_set_is_refused_by_name(self, api, as_admin, extra):
        refused = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": phone(), extra: "x"})
        assert refused.status_code == 422
        assert [error["field"] for error in refused.json()["errors"]] == [extra]

    @pytest.mark.parametrize("text", ["", "12", "+1 555", "hello", "+999123"])
    def test_what_is_no_phone_number_is_refused(self, api, as_admin, text):
        refused = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": text})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "phone"

    @pytest.mark.parametrize(
        "body", [{"name": "a\x00b"}, {"custom_data": {"k": "\x00"}}, {"custom_data": {"k": "\ud800"}}]
    )
    def test_text_that_cannot_be_stored_is_refused(self, api, as_admin, body):
        refused = api.post(
            "/api/v1/contacts/", content=json.dumps({"phone": phone()} | body),
            headers=as_admin | {"Content-Type": "application/json"},
        )  # fmt: skip
        assert refused.status_code == 422


class TestOptOut:
    def test_a_number_that_comes_back_is_still_opted_out(self, api, as_admin, tenant, database, contact):
        with psycopg.connect(database.admin) as connection:
            connection.execute(
                "INSERT INTO consents (tenant_id, contact_id, status, effective_at, source)"
                " VALUES (%s, %s, 'opted_out', now(), 'keyword')",
                (tenant.tenant_id, contact["id"]),
            )
        assert api.delete(f"/api/v1/contacts/{contact['id']}", headers=as_admin).status_code == 204
        back = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": contact["phone"]}).json()
        assert back["marketing_consent"] == "opted_out"

    def test_changing_the_number_to_a_suppressed_one_opts_out(self, api, as_admin, tenant, database, contact):
        other = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": phone()}).json()
        with psycopg.connect(database.admin) as connection:
            connection.execute(
                "INSERT INTO consents (tenant_id, contact_id, status, effective_at, source)"
                " VALUES (%s, %s, 'opted_out', now(), 'keyword')",
                (tenant.tenant_id, other["id"]),
            )
        moved = api.put(f"/api/v1/contacts/{other['id']}", headers=as_admin, json={"phone": phone()}).json()
        assert moved["marketing_consent"] == "opted_out"
        taken = api.put(f"/api/v1/contacts/{contact['id']}", headers=as_admin, json={"phone": other["phone"]}).json()
        assert taken["marketing_consent"] == "opted_out"


class TestForeignId:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "", None),
            ("PUT", "", {"name": "mine"}),
            ("DELETE", "", None),
            ("POST", "/tags", {"tags": ["mine"]}),
            ("DELETE", "/tags/vip", None),
        ],
    )
    def test_is_not_found_and_untouched(self, api, as_admin, as_stranger, contact, method, path, body):
        answer = api.request(method, f"/api/v1/contacts/{contact['id']}{path}", headers=as_stranger, json=body)
        missing = api.request(
            method, f"/api/v1/contacts/00000000-0000-4000-8000-000000000000{path}", headers=as_stranger, json=body
        )
        assert answer.status_code == missing.status_code == 404
        assert {**answer.json(), "request_id": ""} == {**missing.json(), "request_id": ""}
        assert api.get(f"/api/v1/contacts/{contact['id']}", headers=as_admin).json() == contact


class TestUpdate:
    def test_changes_what_is_given_and_nothing_else(self, api, as_admin, contact):
        changed = api.put(
            f"/api/v1/contacts/{contact['id']}", headers=as_admin, json={"name": None, "priority": "high"}
        )
        expected = {**contact, "name": None, "priority": "high", "updated_at": changed.json()["updated_at"]}
        assert changed.json() == expected

    def test_a_phone_cannot_be_emptied(self, api, as_admin, contact):
        refused = api.put(f"/api/v1/contacts/{contact['id']}", headers=as_admin, json={"phone": None})
        assert refused.status_code == 422

    def test_the_new_phone_is_the_contacts_identity_and_the_old_one_is_free(self, api, as_admin, contact, database):
        number = phone()
        api.put(f"/api/v1/contacts/{contact['id']}", headers=as_admin, json={"phone": number})
        with psycopg.connect(database.admin) as connection:
            found = connection.execute(
                "SELECT value FROM contact_identities WHERE contact_id = %s", (contact["id"],)
            ).fetchall()
        assert found == [(number,)]
        assert api.post("/api/v1/contacts/", headers=as_admin, json={"phone": contact["phone"]}).status_code == 201


class TestTags:
    def test_are_added_once_and_removed(self, api, as_admin, contact):
        tags = f"/api/v1/contacts/{contact['id']}/tags"
        assert api.post(tags, headers=as_admin, json={"tags": ["new", "vip"]}).json()["tags"] == ["new", "vip"]
        assert api.delete(f"{tags}/vip", headers=as_admin).json()["tags"] == ["new"]
        assert api.delete(f"{tags}/vip", headers=as_admin).json()["tags"] == ["new"]


class TestLists:
    @pytest.fixture(scope="class")
    def people(self, api, make_tenant):
        headers = {"X-API-Key": make_tenant().api_key}
        for number in range(7):
            body = {"phone": phone(), "name": f"Person {number}", "tags": ["odd" if number % 2 else "even", "all"]}
            api.post("/api/v1/contacts/", headers=headers, json=body)
        return headers

    def names(self, answer):
        return [item["name"] for item in answer.json()["items"]]

    def test_pages_hold_every_contact_once_in_the_order_asked_for(self, api, people):
        pages = [
            api.get("/api/v1/contacts/", headers=people, params={"page": n, "limit": 3, "sort": "-name"})
            for n in (1, 2, 3)
        ]
        assert [name for page in pages for name in self.names(page)] == [
            f"Person {number}" for number in reversed(range(7))
        ]
        assert pages[0].json()["pagination"] == {"total": 7, "page": 1, "limit": 3, "pages": 3}

    def test_an_unknown_sort_column_is_refused(self, api, people):
        refused = api.get("/api/v1/contacts/", headers=people, params={"sort": "password_hash"})
        assert refused.status_code == 422

    def test_search_takes_wildcards_as_they_are_written(self, api, people):
        assert len(self.names(api.get("/api/v1/contacts/search", headers=people, params={"q": "person"}))) == 7
        assert self.names(api.get("/api/v1/contacts/search", headers=people, params={"q": "n 3"})) == ["Person 3"]
        assert self.names(api.get("/api/v1/contacts/search", headers=people, params={"q": "P%3"})) == []

    def test_filter_needs_all_tags_or_any(self, api, people):
        both = api.get("/api/v1/contacts/filter", headers=people, params={"tag": ["all", "odd"]})
        assert len(self.names(both)) == 3
        any_of = api.get("/api/v1/contacts/filter", headers=people, params={"any_tag": ["even", "odd"]})
        assert len(self.names(any_of)) == 7
        assert self.names(api.get("/api/v1/contacts/filter", headers=people, params={"status": "archived"})) == []

    def test_a_tenant_sees_its_own_only(self, api, people, as_stranger):
        seen = api.get("/api/v1/contacts/search", headers=as_stranger, params={"q": "Person"})
        assert seen.json()["items"] == []


class TestValidatePhone:
    def test_says_how_a_number_is_kept(self, api, as_admin):
        valid = api.post(
            "/api/v1/contacts/validate-phone", headers=as_admin, json={"phone": "030 901820", "default_region": "DE"}
        )
        assert valid.json() == {"valid": True, "phone": "+4930901820", "reason": None, "contact_id": None}

    def test_says_why_not(self, api, as_admin):
        invalid = api.post("/api/v1/contacts/validate-phone", headers=as_admin, json={"phone": "030 901820"})
        assert invalid.json()["valid"] is False
        assert invalid.json()["reason"] == "missing_country_code"


class TestTagNames:
    # Whatever can be created can be deleted, by a client that escapes the tag as one part of the path.
    @pytest.mark.parametrize(
        "tag",
        ["a/b", "/", "//", "/a", "a/", "a/b/c", "50% off", "ä ö", "?x=1", "#1", "a+b", "...", "tags", ";"],
    )
    def test_that_can_be_created_can_be_deleted(self, api, as_admin, contact, tag):
        path = f"/api/v1/contacts/{contact['id']}/tags"
        made = api.post(path, headers=as_admin, json={"tags": [tag]})
        assert (made.status_code, set(made.json()["tags"])) == (200, {"vip", tag})
        gone = api.delete(f"{path}/{urllib.parse.quote(tag, safe='')}", headers=as_admin)
        assert (gone.status_code, gone.json().get("tags")) == (200, ["vip"])

    @pytest.mark.parametrize("tag", [".", "..", "a/../b", "./a"])
    def test_that_clients_would_take_out_of_a_path_are_refused(self, api, as_admin, contact, tag):
        refused = api.post(f"/api/v1/contacts/{contact['id']}/tags", headers=as_admin, json={"tags": [tag]})
        assert refused.status_code == 422
