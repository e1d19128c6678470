"""Batches of given features, as JSON and as Arrow: the same scores, and every fault told by field and row."""

from __future__ import annotations

import datetime as dt
import json
import math
import struct
import uuid

import pyarrow as pa
import pytest

from feature_store.transforms import InputColumn

NOW = dt.datetime(2026, 3, 11, tzinfo=dt.UTC)
ORDERED = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
ROUTE = "/api/v1/ml/models/lead-scoring/batch"
ARROW = "application/vnd.apache.arrow.stream"
GOOD = {"orders_total": 2, "last_order_at": "2026-03-01T00:00:00Z", "contact.gender": "f"}


@pytest.fixture
def owner(owner, champions):
    champions.promote(owner.tenant_id, "lead_scoring", version="3")
    return owner


def calibrated(logit):
    return 0.5 / (1 + math.exp(-logit))


EXPECTED = calibrated(0.5 * 2 - 0.1 * 10 + 1.0 + 0.25 * 2)


def stream(columns, metadata=None, **options):
    table = pa.table(columns).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, **options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def batches_of(batches, **options):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def columns_of(count=2, **changes):
    return {
        "orders_total": pa.array([2] * count, pa.float32()),
        "last_order_at": pa.array([ORDERED] * count, pa.timestamp("us", "UTC")),
        "contact.gender": pa.array(["f"] * count),
    } | changes


def ask_arrow(api, headers, body):
    return api.post(ROUTE, headers=headers | {"Content-Type": ARROW}, content=body)


def _rows(columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def faults(answer):
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text
    return [(error["field"], error.get("row"), error["code"]) for error in answer.json()["errors"]]


class TestRowsAndColumns:
    @pytest.mark.parametrize("form", ["rows", "columns"])
    def test_given_features_score_as_stored_ones_would(self, api, headers, form):
        rows = [GOOD, GOOD | {"contact.gender": None}]
        given = rows if form == "rows" else {name: [row[name] for row in rows] for name in GOOD}
        answer = api.post(ROUTE, headers=headers, json={form: given})
        assert answer.status_code == 200, answer.text
        first, second = answer.json()["predictions"]
        assert first["probability"] == pytest.approx(EXPECTED, abs=1e-6)
        assert second["probability"] == pytest.approx(calibrated(0.5), abs=1e-6)
        assert (first["row"], second["row"], first["model_version"]) == (0, 1, "3")

    def test_the_answer_is_the_documented_one(self, api, headers):
        body = json.dumps({"rows": [GOOD]})
        lean = api.post(ROUTE, headers=headers | {"Content-Type": "application/json"}, content=body)
        # What is said beside the type sends the request the usual way, through FastAPI.
        usual = api.post(ROUTE, headers=headers | {"Content-Type": "application/json; version=1"}, content=body)
        assert (usual.status_code, usual.json()) == (200, lean.json())

    @pytest.mark.parametrize(
        ("value", "code"),
        [("two", "float_type"), (True, "float_type"), ([2], "float_type"), (1e13, "finite_number"),
         (10**400, "finite_number"), (float("nan"), "finite_number"), (float("-inf"), "finite_number")],
    )  # fmt: skip
    def test_what_is_no_number_is_told_by_field_and_row(self, api, headers, value, code):
        body = json.dumps({"rows": [GOOD, GOOD | {"orders_total": value}]})
        answer = api.post(ROUTE, headers=headers | {"Content-Type": "application/json"}, content=body)
        assert faults(answer) == [("orders_total", 1, code)]

    @pytest.mark.parametrize("value", ["yesterday", "2026-03-01T00:00:00", 1_772_323_200, ["2026-03-01"]])
    def test_what_is_no_moment_is_told(self, api, headers, value):
        answer = api.post(ROUTE, headers=headers, json={"rows": [GOOD | {"last_order_at": value}]})
        assert faults(answer) == [("last_order_at", 0, "datetime_parsing")]

    def test_what_is_no_attribute_is_told(self, api, headers):
        answer = api.post(ROUTE, headers=headers, json={"rows": [GOOD, GOOD | {"contact.gender": {"is": "f"}}]})
        assert faults(answer) == [("contact.gender", 1, "attribute_type")]

    @pytest.mark.parametrize("form", ["rows", "columns"])
    def test_half_a_character_is_a_text_like_others(self, api, headers, form):
        def ask(**changes):
            given = [GOOD | changes] if form == "rows" else {name: [value] for name, value in (GOOD | changes).items()}
            content = json.dumps({form: given})
            return api.post(ROUTE, headers=headers | {"Content-Type": "application/json"}, content=content)

        (unseen,) = ask(**{"contact.gender": "\ud800"}).json()["predictions"]
        assert unseen["probability"] == pytest.approx(calibrated(0.5), abs=1e-6)
        assert faults(ask(last_order_at="\ud800"))[0] == ("last_order_at", 0, "datetime_parsing")
        assert faults(ask(**{"\ud800": 1}))[0][::2] == ("\ud800", "unknown_field")

    def test_missing_and_unknown_fields_are_told(self, api, headers):
        short = {name: value for name, value in GOOD.items() if name != "orders_total"}
        answer = api.post(ROUTE, headers=headers, json={"rows": [GOOD, short | {"shoe_size": 42}]})
        assert faults(answer) == [("orders_total", 1, "missing"), ("shoe_size", 1, "unknown_field")]
        lists = {name: [value] for name, value in short.items()}
        answer = api.post(ROUTE, headers=headers, json={"columns": lists})
        assert faults(answer) == [("orders_total", None, "missing")]

    def test_columns_of_different_lengths_are_refused(self, api, headers):
        given = {name: [value] * 2 for name, value in GOOD.items()} | {"orders_total": [1]}
        found = faults(api.post(ROUTE, headers=headers, json={"columns": given}))
        assert {code for _, _, code in found} == {"length"}

    @pytest.mark.parametrize(
        ("values", "found"),
        [([1.5, True], (1, "float_type")), ([1, "2"], (1, "float_type")), ([[1], [2]], (0, "float_type")),
         ([1, None, 2e12], (2, "finite_number")), ([[1, 2], None], (0, "float_type"))],
    )  # fmt: skip
    def test_a_column_is_told_what_is_no_number_in_it(self, api, headers, values, found):
        given = {name: [value] * len(values) for name, value in GOOD.items()} | {"orders_total": values}
        first, *_ = faults(api.post(ROUTE, headers=headers, json={"columns": given}))
        assert first == ("orders_total", *found)

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
    def test_a_column_of_numbers_that_are_none_is_told(self, api, headers, number):
        given = {name: [value] * 3 for name, value in GOOD.items()} | {"orders_total": [1.5, None, "number"]}
        body = json.dumps({"columns": given}).replace('"number"', number)
        answer = api.post(ROUTE, headers=headers | {"Content-Type": "application/json"}, content=body)
        assert faults(answer) == [("orders_total", 2, "finite_number")]

    @pytest.mark.parametrize(
        "value",
        [
            "yesterday",
            "2026-03-01T00:00:00",
            "2026-02-30T00:00:00Z",
            "",
            "\u0000",
            1_772_323_200,
            True,
            ["2026"],
            {"a": 1},
        ],
    )
    def test_a_column_is_told_what_is_no_moment_in_it(self, api, headers, value):
        moments = [GOOD["last_order_at"], None, value, value]
        given = {name: [known] * 4 for name, known in GOOD.items()} | {"last_order_at": moments}
        found = faults(api.post(ROUTE, headers=headers, json={"columns": given}))
        assert found == [("last_order_at", row, "datetime_parsing") for row in (2, 3)]

    def test_faults_of_several_columns_are_told_together(self, api, headers):
        given = {"orders_total": [True, 2e12], "last_order_at": ["x", None], "contact.gender": [{"is": "f"}, "f"]}
        assert faults(api.post(ROUTE, headers=headers, json={"columns": given})) == [
            ("orders_total", 0, "float_type"), ("last_order_at", 0, "datetime_parsing"),
            ("contact.gender", 0, "attribute_type"),
        ]  # fmt: skip

    # What Arrow reads as well as Python, and what it does not.
    @pytest.mark.parametrize(("moment", "gender"), [("2026-02-28T23:59:59Z", "x"), ("20260228T235959Z", 2.5)])
    def test_columns_score_as_each_of_their_rows_does_alone(self, api, headers, moment, gender):
        given = {
            "orders_total": [2, 1.5, -3, 10**11, 0, 2**39],
            "last_order_at": [
                "2026-03-01T00:00:00Z", "2026-03-01T03:00:00.250+03:00", moment,
                "2026-02-28T19:00:00-05:00", "2026-03-01T00:00Z", "2026-03-01T00:00:00.000001+00:00",
            ],
            "contact.gender": ["f", None, "m", "", "f", gender],
        }  # fmt: skip
        together = api.post(ROUTE, headers=headers, json={"columns": given}).json()["predictions"]
        alone = [
            api.post(ROUTE, headers=headers, json={"rows": [row]}).json()["predictions"][0] | {"row": position}
            for position, row in enumerate(_rows(given))
        ]
        assert together == alone

    @pytest.mark.parametrize("sizes", [[1, 2.5, None, 1], [True, 1, "1", 2.5], [[1, 2.5], [2.5], None, [1]]])
    def test_a_category_is_the_same_whatever_stands_beside_it(self, api, headers, owner, champions, sizes):
        kind = {"contains": "1"} if isinstance(sizes[0], list) else {"equals": "1"}
        inputs = [
            InputColumn("contact.size", "contact_attribute", "size", **kind),
            *(InputColumn(name, "feature", name) for name in ("orders_total", "sent_30d", "read_30d")),
        ]
        champions.promote(owner.tenant_id, "lead_scoring", inputs=[each.to_json() for each in inputs], card=None)
        given = {"contact.size": sizes} | {name: [0] * 4 for name in ("orders_total", "sent_30d", "read_30d")}
        for form in ({"columns": given}, {"rows": _rows(given)}):
            found = [one["probability"] for one in api.post(ROUTE, headers=headers, json=form).json()["predictions"]]
            ones = [1 in size if isinstance(size, list) else type(size) is int or size == "1" for size in sizes]
            assert found == pytest.approx([calibrated(0.5 if one else 0) for one in ones], abs=1e-6)

    def test_columns_may_be_asked_about_with_a_campaign(self, api, headers):
        given = {name: [value, value] for name, value in GOOD.items()} | {"contact.gender": ["f", None]}
        body = {"columns": given, "campaign_attributes": {"reward": 4, "channels": ["app"]}}
        answer = api.post(ROUTE, headers=headers, json=body)
        assert answer.status_code == 200, answer.text
        lean = answer.json()["predictions"]
        by_rows = api.post(ROUTE, headers=headers, json={"rows": _rows(given), "campaign_attributes": {"reward": 4}})
        assert lean == by_rows.json()["predictions"]
        unknown = api.post(ROUTE, headers=headers, json={"columns": given, "campaign_id": "x"})
        assert faults(unknown) == [("campaign_id", None, "uuid_parsing")]

    def test_columns_of_no_or_too_many_rows_are_refused(self, api, headers):
        for count, code in ((0, "too_short"), (1_001, "too_long")):
            given = {name: [value] * count for name, value in GOOD.items()}
            assert {found for _, _, found in faults(api.post(ROUTE, headers=headers, json={"columns": given}))} == {
                code
            }

    @pytest.mark.parametrize("body", [{}, {"rows": [GOOD], "contact_ids": [str(uuid.uuid4())]}, {"rows": []}])
    def test_who_is_asked_about_must_be_said_once(self, api, headers, body):
        assert api.post(ROUTE, headers=headers, json=body).status_code == 422

    @pytest.mark.parametrize(
        "body", [{"rows": [GOOD] * 1001}, {"contact_ids": [str(uuid.uuid4()) for _ in range(1001)]}]
    )
    def test_more_than_a_thousand_are_refused(self, api, headers, body):
        answer = api.post(ROUTE, headers=headers, json=body)
        assert faults(answer)[0][2] == "too_long"

    def test_a_body_beyond_the_limit_is_refused_unread(self, api, headers, settings):
        answer = ask_arrow(api, headers, b"\0" * (settings.max_body_bytes + 1))
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")

    def test_nobody_and_no_champion_get_no_score(self, api, make_tenant):
        assert api.post(ROUTE, json={"rows": [GOOD]}).status_code == 401
        other = {"X-API-Key": make_tenant().api_key}
        for answer in (
            api.post(ROUTE, headers=other, json={"rows": [GOOD]}),
            ask_arrow(api, other, stream(columns_of())),
        ):
            assert (answer.status_code, answer.json()["type"]) == (409, "urn:rapport:problem:model-not-trained")


class TestRanges:
    def test_inputs_outside_of_what_training_saw_are_named(self, api, headers, owner, champions):
        champions.promote(owner.tenant_id, "lead_scoring", ranges={"orders_total": [0, 5]})
        answer = api.post(ROUTE, headers=headers, json={"rows": [GOOD, GOOD | {"orders_total": 6}]})
        assert [row["out_of_range"] for row in answer.json()["predictions"]] == [[], ["orders_total"]]
        table = pa.ipc.open_stream(
            ask_arrow(api, headers, stream(columns_of(orders_total=pa.array([5, 6])))).content
        ).read_all()
        assert table["out_of_range"].to_pylist() == [[], ["orders_total"]]

    def test_rows_outside_in_several_inputs_name_each_in_their_order(self, api, headers, owner, champions):
        ranges = {"orders_total": [0, 5], "days_since_last_order": [0, 20], "contact.gender=f": [0, 0]}
        champions.promote(owner.tenant_id, "lead_scoring", ranges=ranges)
        old = {"last_order_at": "2025-03-01T00:00:00Z"}
        rows = [GOOD, GOOD | old, GOOD | {"contact.gender": "m"}, GOOD | old | {"orders_total": -1}] * 30
        answer = api.post(ROUTE, headers=headers, json={"rows": rows})
        female, days, orders = "contact.gender=f", "days_since_last_order", "orders_total"
        assert [row["out_of_range"] for row in answer.json()["predictions"]] == [
            [female], [days, female], [], [orders, days, female],
        ] * 30  # fmt: skip


class TestArrow:
    def test_a_stream_is_answered_by_a_stream_with_the_same_scores(self, api, headers):
        answer = ask_arrow(api, headers, stream(columns_of()))
        assert (answer.status_code, answer.headers["content-type"]) == (200, ARROW)
        table = pa.ipc.open_stream(answer.content).read_all()
        as_json = api.post(ROUTE, headers=headers, json={"rows": [GOOD] * 2}).json()["predictions"]
        assert table["probability"].to_pylist() == [row["probability"] for row in as_json]
        assert table["score"].to_pylist() == [row["score"] for row in as_json]
        assert table.schema.metadata[b"model_version"] == b"3"

    def test_contacts_are_scored_or_told_why_not(self, api, headers, owner, online):
        known, unknown = str(uuid.uuid4()), str(uuid.uuid4())
        online(owner.tenant_id, known, {"gender": "f"}, int(ORDERED.timestamp() * 1e6), orders_total=2)
        answer = ask_arrow(api, headers, stream({"contact_id": [unknown, known]}))
        table = pa.ipc.open_stream(answer.content).read_all()
        assert table["not_predicted"].to_pylist() == ["contact_not_found", None]
        assert table["probability"].to_pylist() == [None, pytest.approx(EXPECTED, abs=1e-6)]

    def test_the_campaign_asked_about_stands_in_the_metadata(self, api, headers):
        body = stream(columns_of(1), {"campaign_attributes": json.dumps({"reward": 4})})
        table = pa.ipc.open_stream(ask_arrow(api, headers, body).content).read_all()
        assert table["probability"][0].as_py() == pytest.approx(calibrated(2.0), abs=1e-6)
        for metadata, field in (({"campaign_attributes": "{"}, "metadata"), ({"campaign_id": "x"}, "campaign_id")):
            assert faults(ask_arrow(api, headers, stream(columns_of(1), metadata)))[0][0] == field

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"orders_total": pa.array([1.0, float("nan")])}, ("orders_total", 1, "finite_number")),
            ({"orders_total": pa.array([float("inf"), None])}, ("orders_total", 0, "finite_number")),
            ({"orders_total": pa.array(["1", "2"])}, ("orders_total", None, "float_type")),
            ({"orders_total": pa.array([True, False])}, ("orders_total", None, "float_type")),
            ({"last_order_at": pa.array([1, 2])}, ("last_order_at", None, "datetime_type")),
            ({"last_order_at": pa.array([None, NOW.replace(tzinfo=None)])}, ("last_order_at", None, "datetime_type")),
            ({"last_order_at": pa.array([None, 2**62], pa.timestamp("s", "UTC"))},
             ("last_order_at", 1, "datetime_parsing")),
            ({"last_order_at": pa.array([-(2**63), 0], pa.timestamp("us", "UTC"))},
             ("last_order_at", 0, "datetime_parsing")),
            ({"contact.gender": pa.array([{"is": "f"}, None])}, ("contact.gender", None, "unsupported_type")),
            ({"contact.gender": pa.array([2**30, None], pa.date32())}, ("contact.gender", None, "attribute_type")),
            ({"contact.gender": pa.array([2**62, 0], pa.timestamp("s"))}, ("contact.gender", None, "attribute_type")),
            ({"contact.gender": pa.array([["f"], None])}, ("contact.gender", 0, "attribute_type")),
            ({"shoe_size": pa.array([1, 2])}, ("shoe_size", None, "unknown_field")),
        ],
    )  # fmt: skip
    def test_faults_are_told_by_field_and_row(self, api, headers, changes, expected):
        assert faults(ask_arrow(api, headers, stream(columns_of(**changes)))) == [expected]

    @pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
    def test_texts_may_come_in_any_form_and_as_a_dictionary(self, api, headers, kind):
        texts = pa.array(["f", None, "m", "f"], kind)
        nulls_inside = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 0], pa.int8()), texts[:3])
        for genders in (texts, texts.cast(pa.string()).dictionary_encode().cast(pa.dictionary(pa.int8(), kind)),
                        nulls_inside):  # fmt: skip
            answer = ask_arrow(api, headers, stream(columns_of(4, **{"contact.gender": genders})))
            assert answer.status_code == 200, answer.text
            found = pa.ipc.open_stream(answer.content).read_all()["probability"].to_pylist()
            assert found == pytest.approx([EXPECTED, calibrated(0.5), calibrated(0.5), EXPECTED], abs=1e-6)

    def test_contacts_may_come_as_uuids_or_as_a_dictionary(self, api, headers):
        contact_id = uuid.uuid4()
        for ids in (
            pa.array([contact_id.bytes], pa.uuid()), pa.array([contact_id.bytes]), pa.array([str(contact_id)]),
            pa.array([str(contact_id)]).dictionary_encode(),
        ):  # fmt: skip
            answer = ask_arrow(api, headers, stream({"contact_id": ids}))
            assert answer.status_code == 200, answer.text
            assert pa.ipc.open_stream(answer.content).read_all()["contact_id"].to_pylist() == [str(contact_id)]

    def test_contacts_of_a_type_that_names_nobody_are_told(self, api, headers):
        for ids in (pa.array([2**62], pa.timestamp("s")), pa.array([2**62], pa.duration("s"))):
            assert faults(ask_arrow(api, headers, stream({"contact_id": ids}))) == [("contact_id", None, "uuid_type")]

    def test_metadata_that_nest_too_deep_are_refused(self, api, headers):
        body = stream(columns_of(1), {"campaign_attributes": "[" * 50_000})
        assert faults(ask_arrow(api, headers, body)) == [("metadata", None, "json_invalid")]

    def test_a_contact_that_is_no_uuid_is_told_by_its_row(self, api, headers):
        body = stream({"contact_id": [str(uuid.uuid4()), "x", None]})
        assert faults(ask_arrow(api, headers, body)) == [
            ("contact_id", 1, "uuid_parsing"), ("contact_id", 2, "uuid_parsing"),
        ]  # fmt: skip

    def test_what_is_no_stream_is_refused(self, api, headers):
        good = stream(columns_of())
        for body in (
            b"", b"x" * 100, good[: len(good) // 2], b"\xff" * 16, good[:200] + b"\xee" * 64 + good[264:],
            good.replace(b"orders_total", b"orders_tota\xff"),
        ):  # fmt: skip
            assert faults(ask_arrow(api, headers, body))[0][0] == "body"

    def test_few_bytes_that_unpack_to_many_are_refused(self, api, headers):
        packed = stream(columns_of(20_000), options=pa.ipc.IpcWriteOptions(compression="zstd"))
        assert faults(ask_arrow(api, headers, packed)) == [("body", None, "compressed")]
        # A column of nulls has a length and no bytes at all.
        nulls = stream({"orders_total": pa.nulls(10_000_000)})
        assert len(nulls) < 1_000
        assert faults(ask_arrow(api, headers, nulls)) == [("body", None, "too_long")]

    def test_lists_of_nulls_and_views_of_one_text_may_not_unpack_to_many(self, api, headers):
        nulls = pa.FixedSizeListArray.from_arrays(pa.nulls(2_000_000), 2_000_000)
        views = b"".join(struct.pack("<iiii", 100_000, 0, 0, start) for start in range(300))
        texts = pa.Array.from_buffers(pa.string_view(), 300, [None, pa.py_buffer(views), pa.py_buffer(b"\0" * 200_000)])
        for column in (nulls, texts):
            body = stream({"contact_id": column})
            assert len(body) < 300_000
            assert faults(ask_arrow(api, headers, body)) == [("contact_id", None, "too_long")]

    def test_what_many_batches_unpack_to_is_counted_together(self, api, headers):
        nulls = pa.record_batch([pa.FixedSizeListArray.from_arrays(pa.nulls(1_000_000), 1_000_000)], ["contact_id"])
        # Together more than may be, by dictionaries that grow, or by texts that views share.
        grown = [
            pa.record_batch(
                [pa.DictionaryArray.from_arrays(pa.array([0]), pa.array(map(str, range(size))))], ["contact_id"]
            )
            for size in range(10, 10_010, 20)
        ]
        views = b"".join(struct.pack("<iiii", 100_000, 0, 0, start) for start in range(30))
        buffers = [None, pa.py_buffer(views), pa.py_buffer(b"\0" * 200_000)]
        shared = pa.record_batch([pa.Array.from_buffers(pa.string_view(), 30, buffers)], ["contact_id"])
        for batches, field in (([nulls] * 20, "contact_id"), (grown, "body"), ([shared] * 3, "contact_id")):
            body = batches_of(batches, emit_dictionary_deltas=True)
            assert len(body) < 700_000
            assert faults(ask_arrow(api, headers, body)) == [(field, None, "too_long")]

    def test_buffers_over_one_another_are_refused(self, api, headers):
        texts = {f"text{number}": pa.array(["x" * 50_000]) for number in range(9)}
        good = stream(texts)
        lengths = good.index(b"text8") + 100
        told = struct.pack("<q", 50_000)
        assert good[lengths:].count(told) == 9
        both = good[:lengths] + good[lengths:].replace(told, struct.pack("<q", 400_000), 4)
        assert faults(ask_arrow(api, headers, both)) == [("body", None, "overlapping")]

    def test_a_stream_has_no_more_columns_batches_and_schema_than_it_needs(self, api, headers):
        columns = stream({f"c{number}": pa.array([1], pa.int8()) for number in range(257)})
        batches = batches_of([pa.record_batch([pa.array(["x"])], ["contact_id"])] * 1_001)
        schema = stream(columns_of(1), {"pandas": "x" * 600_000})
        attributes = stream(columns_of(1), {"campaign_attributes": json.dumps({"reward": "x" * 70_000})})
        for body, field in ((columns, "body"), (batches, "body"), (schema, "body"), (attributes, "metadata")):
            assert faults(ask_arrow(api, headers, body)) == [(field, None, "too_long")]

    @pytest.mark.parametrize(
        "kind", [pa.list_(pa.list_(pa.int8())), pa.list_(pa.timestamp("s")), pa.map_(pa.string(), pa.string()),
                 pa.dictionary(pa.int8(), pa.timestamp("s"))],
    )  # fmt: skip
    def test_what_no_model_reads_is_refused_by_its_type(self, api, headers, kind):
        body = stream(columns_of(**{"contact.gender": pa.nulls(2, kind)}))
        assert faults(ask_arrow(api, headers, body)) == [("contact.gender", None, "unsupported_type")]

    def test_dictionaries_may_grow_and_change_between_batches(self, api, headers):
        texts = [["f", "m"], ["f", "m", "x"], ["x", "m", "f"]]
        batches = [
            pa.record_batch(columns_of(2, **{
                "contact.gender": pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(each))
            }))
            for each in texts
        ]  # fmt: skip
        for deltas in (True, False):
            answer = ask_arrow(api, headers, batches_of(batches, emit_dictionary_deltas=deltas))
            assert answer.status_code == 200, answer.text
            found = pa.ipc.open_stream(answer.content).read_all()["probability"].to_pylist()
            one, none = EXPECTED, calibrated(0.5)
            assert found == pytest.approx([one, none, one, none, none, none], abs=1e-6)

    def test_dictionaries_that_cannot_be_put_together_are_told(self, api, headers):
        batches = [
            pa.record_batch(columns_of(1, **{
                "contact.gender": pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array([text, None]))
            }))
            for text in "fm"
        ]  # fmt: skip
        answer = ask_arrow(api, headers, batches_of(batches))
        assert faults(answer) == [("body", None, "arrow_invalid")]
        assert "hold no nulls" in answer.text

    def test_sets_may_come_in_several_batches(self, api, headers, owner, champions):
        inputs = [
            InputColumn("contact.gender:f", "contact_attribute", "gender", contains="f"),
            *(InputColumn(name, "feature", name) for name in ("orders_total", "sent_30d", "read_30d")),
        ]
        champions.promote(owner.tenant_id, "lead_scoring", inputs=[each.to_json() for each in inputs], card=None)
        numbers = {name: pa.array([0.0, 0.0]) for name in ("orders_total", "sent_30d", "read_30d")}
        batches = [
            pa.record_batch(numbers | {"contact.gender": pa.array(sets, pa.list_(pa.string()))})
            for sets in ([["f", "m"], None], [[], ["f"]])
        ]
        answer = ask_arrow(api, headers, batches_of(batches))
        found = pa.ipc.open_stream(answer.content).read_all()["probability"].to_pylist()
        assert found == pytest.approx([calibrated(0.5), calibrated(0), calibrated(0), calibrated(0.5)], abs=1e-6)

    def test_twenty_thousand_rows_are_the_most(self, api, headers):
        answer = ask_arrow(api, headers, stream(columns_of(20_000)))
        assert pa.ipc.open_stream(answer.content).read_all().num_rows == 20_000
        assert faults(ask_arrow(api, headers, stream(columns_of(20_001)))) == [("body", None, "too_long")]
        assert faults(ask_arrow(api, headers, stream(columns_of(0)))) == [("body", None, "too_short")]


class TestDescription:
    def test_openapi_describes_both_media_types(self, api):
        route = api.get("/openapi.json").json()["paths"][ROUTE]["post"]
        assert {"application/json", ARROW} <= route["requestBody"]["content"].keys()
        assert {"application/json", ARROW} <= route["responses"]["200"]["content"].keys()
