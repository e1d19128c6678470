"""The identity abuse cases, against the running API."""

from __future__ import annotations

import base64
import concurrent.futures
import datetime as dt
import json
import uuid

import jwt
import psycopg
import pytest

from serving.auth.tokens import AUDIENCE, ISSUER

ME = "/api/v1/auth/me"


@pytest.fixture(scope="module")
def person(database, make_tenant):
    return make_tenant(password="correct horse battery staple")


def login(api, name, password, **headers):
    return api.post("/api/v1/auth/login-json", json={"username": name, "password": password}, headers=headers)


class TestLogin:
    def test_gives_a_token_for_the_only_tenant(self, api, person):
        answer = login(api, person.username, "correct horse battery staple")
        assert answer.status_code == 200
        me = api.get(ME, headers={"Authorization": f"Bearer {answer.json()['access_token']}"}).json()
        assert (me["tenant_id"], me["role"], me["email"]) == (str(person.tenant_id), "admin", person.username)

    def test_by_form_gives_the_same(self, api, person):
        form = {"username": person.username, "password": "correct horse battery staple"}
        assert api.post("/api/v1/auth/login", data=form).status_code == 200

    def test_an_unknown_name_and_a_wrong_password_answer_alike(self, api, person):
        wrong = login(api, person.username, "wrong").json()
        unknown = login(api, "nobody@example.com", "wrong").json()
        assert {**wrong, "request_id": ""} == {**unknown, "request_id": ""}
        assert wrong["status"] == 401

    def test_the_generated_password_is_given_once_and_works(self, api, make_tenant):
        made = make_tenant()
        assert login(api, made.username, made.password).status_code == 200

    def test_the_hash_is_argon2id_of_the_chosen_cost(self, database, person):
        with psycopg.connect(database.admin) as connection:
            (stored,) = connection.execute(
                "SELECT password_hash FROM users WHERE id = %s", (person.user_id,)
            ).fetchone()
        assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")

    def test_guessing_is_throttled_even_for_the_right_password(self, api, make_tenant, settings):
        made = make_tenant()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: login(api, made.username, "guess"), range(20)))
        assert [answer.status_code for answer in answers].count(401) == settings.login_attempts_per_name
        late = login(api, made.username, made.password)
        assert late.status_code == 429
        assert 0 < int(late.headers["Retry-After"]) <= settings.login_window_seconds

    def test_a_disabled_user_cannot_log_in(self, api, make_tenant, database):
        made = make_tenant()
        disable(database, made.user_id)
        assert login(api, made.username, made.password).status_code == 401

    @pytest.mark.parametrize("field", ["role", "tenant_id"])
    def test_a_body_cannot_name_rights(self, api, person, field):
        body = {"username": person.username, "password": "x", field: "admin"}
        refused = api.post("/api/v1/auth/login-json", json=body)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


def disable(database, user_id):
    with psycopg.connect(database.admin) as connection:
        connection.execute("UPDATE users SET is_active = false WHERE id = %s", (user_id,))


class TestAccessToken:
    def claims(self, person, **changes):
        now = int(dt.datetime.now(dt.UTC).timestamp())
        claims = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": str(person.user_id), "tenant": str(person.tenant_id), "iat": now,
            "exp": now + 600,
        }  # fmt: skip
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def status(self, api, token):
        return api.get(ME, headers={"Authorization": f"Bearer {token}"}).status_code

    def test_ours_is_accepted(self, api, person, settings):
        token = jwt.encode(self.claims(person), settings.jwt_secret.get_secret_value(), "HS256")
        assert self.status(api, token) == 200

    @pytest.mark.parametrize(
        "changes",
        [
            {"aud": "another-api"},
            {"aud": None},
            {"iss": "another-issuer"},
            {"iss": None},
            {"exp": 1},
            {"exp": None},
            {"sub": None},
            {"sub": "admin"},
            {"sub": str(uuid.UUID(int=7))},
            {"tenant": "x"},
        ],
    )
    def test_a_wrong_claim_is_refused(self, api, person, settings, changes):
        token = jwt.encode(self.claims(person, **changes), settings.jwt_secret.get_secret_value(), "HS256")
        assert self.status(api, token) == 401

    def test_another_tenants_id_in_a_signed_claim_gives_nothing(self, api, person, stranger, settings):
        claims = self.claims(person, tenant=str(stranger.tenant_id))
        assert self.status(api, jwt.encode(claims, settings.jwt_secret.get_secret_value(), "HS256")) == 404

    def test_alg_none_is_refused(self, api, person):
        parts = [{"alg": "none", "typ": "JWT"}, self.claims(person)]
        token = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
        assert self.status(api, f"{token}.") == 401

    @pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
    def test_another_algorithm_is_refused(self, api, person, settings, algorithm):
        token = jwt.encode(self.claims(person), settings.jwt_secret.get_secret_value() * 2, algorithm)
        assert self.status(api, token) == 401

    def test_another_secret_is_refused(self, api, person):
        assert self.status(api, jwt.encode(self.claims(person), "x" * 48, "HS256")) == 401

    def test_expires_by_the_apis_clock(self, api, person, clock, token_headers):
        headers = token_headers(person.user_id, person.tenant_id, clock.now)
        assert api.get(ME, headers=headers).status_code == 200
        clock.advance(minutes=30)
        assert api.get(ME, headers=headers).status_code == 401

    def test_of_a_user_disabled_since_ends_within_a_minute(self, api, make_tenant, database, clock, token_headers):
        made = make_tenant()
        headers = token_headers(made.user_id, made.tenant_id, clock.now)
        assert api.get(ME, headers=headers).status_code == 200
        disable(database, made.user_id)
        clock.advance(seconds=60)
        assert api.get(ME, headers=headers).status_code == 401

    @pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer a.b", "Bearer \u00e9"])
    def test_what_is_no_token_is_refused(self, api, value):
        refused = api.get(ME, headers={"Authorization": value.encode()})
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")


class TestTenantChoice:
    @pytest.fixture(scope="class")
    def member_of_two(self, database, make_tenant):
        first, second = make_tenant(), make_tenant()
        with psycopg.connect(database.admin) as connection:
            connection.execute(
                "INSERT INTO tenant_users (tenant_id, user_id, role) VALUES (%s, %s, 'sales')",
                (second.tenant_id, first.user_id),
            )
        return first, second

    def slug(self, tenant):
        return tenant.username.partition("@")[2].removesuffix(".example")

    def test_header_chooses_the_tenant_and_so_the_role(self, api, member_of_two, token_headers):
        first, second = member_of_two
        headers = token_headers(first.user_id, None)
        assert api.get(ME, headers=headers).status_code == 400
        for tenant, role in ((first, "admin"), (second, "sales")):
            me = api.get(ME, headers=headers | {"X-Tenant": self.slug(tenant)}).json()
            assert (me["tenant_id"], me["role"]) == (str(tenant.tenant_id), role)

    def test_header_outranks_the_token(self, api, member_of_two, token_headers):
        first, second = member_of_two
        headers = token_headers(first.user_id, first.tenant_id) | {"X-Tenant": self.slug(second)}
        assert api.get(ME, headers=headers).json()["tenant_id"] == str(second.tenant_id)

    def test_a_strangers_tenant_is_as_unknown_as_a_missing_one(self, api, member_of_two, stranger, token_headers):
        headers = token_headers(member_of_two[0].user_id, None)
        for slug in (self.slug(stranger), "no-such-tenant"):
            assert api.get(ME, headers=headers | {"X-Tenant": slug}).status_code == 404

    def test_a_key_does_not_act_for_another_tenant(self, api, person, stranger):
        headers = {"X-API-Key": person.api_key, "X-Tenant": self.slug(stranger)}
        assert api.get(ME, headers=headers).status_code == 404


class TestApiKey:
    def keys(self, tenant):
        return f"/api/v1/tenants/{tenant.tenant_id}/api-keys"

    def make(self, api, tenant, **body):
        made = api.post(self.keys(tenant), headers={"X-API-Key": tenant.api_key}, json={"name": "key"} | body)
        assert made.status_code == 201
        return made.json()

    def test_is_accepted_in_either_header(self, api, person):
        for headers in ({"X-API-Key": person.api_key}, {"Authorization": f"Bearer {person.api_key}"}):
            me = api.get(ME, headers=headers).json()
            assert me["tenant_id"] == str(person.tenant_id)
            assert me["user_id"] is None

    def test_one_that_nobody_has_is_refused(self, api):
        assert api.get(ME, headers={"X-API-Key": "rk_guess"}).status_code == 401

    def test_the_secret_is_stored_as_a_hash_and_listed_never(self, api, person, database):
        made = self.make(api, person)
        listed = api.get(self.keys(person), headers={"X-API-Key": person.api_key})
        assert made["id"] in [key["id"] for key in listed.json()]
        assert made["secret"] not in listed.text
        with psycopg.connect(database.admin) as connection:
            rows = connection.execute("SELECT row_to_json(api_keys)::text FROM api_keys").fetchall()
        assert not any(made["secret"] in row for (row,) in rows)

    def test_expires(self, api, person, clock):
        key = self.make(api, person, expires_at=(clock.now + dt.timedelta(seconds=10)).isoformat())
        assert api.get(ME, headers={"X-API-Key": key["secret"]}).status_code == 200
        clock.advance(seconds=10)
        assert api.get(ME, headers={"X-API-Key": key["secret"]}).status_code == 401

    def test_that_would_have_expired_already_is_refused(self, api, person, clock):
        for expires_at in (clock.now - dt.timedelta(days=1), clock.now):
            body = {"name": "late", "expires_at": expires_at.isoformat()}
            refused = api.post(self.keys(person), headers={"X-API-Key": person.api_key}, json=body)
            assert refused.status_code == 422
            assert [error["field"] for error in refused.json()["errors"]] == ["expires_at"]

    def test_revoked_is_refused_at_once_by_the_process_that_revoked_it(self, api, person):
        key = self.make(api, person)
        assert api.get(ME, headers={"X-API-Key": key["secret"]}).status_code == 200
        gone = api.delete(f"{self.keys(person)}/{key['id']}", headers={"X-API-Key": person.api_key})
        assert gone.status_code == 204
        assert api.get(ME, headers={"X-API-Key": key["secret"]}).status_code == 401

    def test_revoked_elsewhere_is_refused_within_a_minute(self, api, person, database, clock):
        key = self.make(api, person)
        assert api.get(ME, headers={"X-API-Key": key["secret"]}).status_code == 200
        with psycopg.connect(database.admin) as connection:
            connection.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %s", (key["id"],))
        clock.advance(seconds=60)
        assert api.get(ME, headers={"X-API-Key": key["secret"]}).status_code == 401

    @pytest.mark.parametrize("limit", [5, 130])
    def test_over_its_limit_is_told_when_to_come_back(self, api, person, clock, limit):
        key = self.make(api, person, rate_limit=limit)
        headers = {"X-API-Key": key["secret"]}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda _: api.get(ME, headers=headers).status_code, range(limit + 20)))
        assert statuses.count(200) == limit
        refused = api.get(ME, headers=headers)
        assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
        clock.advance(seconds=int(refused.headers["Retry-After"]))
        assert api.get(ME, headers=headers).status_code == 200

    def test_notes_its_last_use(self, api, person, database, clock):
        key = self.make(api, person)
        api.get(ME, headers={"X-API-Key": key["secret"]})
        with psycopg.connect(database.admin) as connection:
            (used,) = connection.execute("SELECT last_used FROM api_keys WHERE id = %s", (key["id"],)).fetchone()
        assert used == clock.now

    def test_of_another_tenant_is_neither_listed_nor_revoked(self, api, person, stranger):
        theirs = {"X-API-Key": stranger.api_key}
        key = self.make(api, person)
        assert api.get(self.keys(person), headers=theirs).status_code == 404
        assert api.delete(f"{self.keys(person)}/{key['id']}", headers=theirs).status_code == 404
        assert api.delete(f"{self.keys(stranger)}/{key['id']}", headers=theirs).status_code == 404
        assert api.get(ME, headers={"X-API-Key": key["secret"]}).status_code == 200

    def test_only_an_admin_makes_keys(self, api, person):
        key = self.make(api, person, access="marketer")
        refused = api.post(self.keys(person), headers={"X-API-Key": key["secret"]}, json={"name": "mine"})
        assert (refused.status_code, refused.json()["required_role"]) == (403, "admin")


class TestRoles:
    @pytest.fixture(scope="class")
    def headers_of(self, api, person):
        keys = f"/api/v1/tenants/{person.tenant_id}/api-keys"

        def make(role):
            made = api.post(keys, headers={"X-API-Key": person.api_key}, json={"name": role, "access": role})
            return {"X-API-Key": made.json()["secret"]}

        return {role: make(role) for role in ("sales", "marketer", "admin")}

    @pytest.mark.parametrize(("role", "status"), [("sales", 403), ("marketer", 404), ("admin", 404)])
    def test_sales_may_not_start_a_campaign(self, api, headers_of, role, status):
        start = f"/api/v1/campaigns/{uuid.uuid4()}/start"
        assert api.post(start, headers=headers_of[role]).status_code == status

    @pytest.mark.parametrize("role", ["sales", "marketer", "admin"])
    def test_everyone_reads_contacts(self, api, headers_of, role):
        assert api.get("/api/v1/contacts/", headers=headers_of[role]).status_code == 200

    def test_a_marketers_key_cannot_make_an_admins(self, api, headers_of, person):
        keys = f"/api/v1/tenants/{person.tenant_id}/api-keys"
        assert api.post(keys, headers=headers_of["marketer"], json={"name": "x"}).status_code == 403
