"""How bundles are held: by bytes, loaded once, and swapped without a request noticing."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
import uuid

import pytest

import serving.prediction.champions as held_bundles
from serving.prediction.bundles import BundleBroken, ModelNotTrained
from serving.prediction.champions import Champions

MODEL = "lead_scoring"


@pytest.fixture
def loads(monkeypatch):
    """The keys that were loaded, in their order; loading goes on as it does."""
    loaded = []
    load = held_bundles.load_bundle

    def counted(folder, **named):
        loaded.append(named["tenant_id"])
        return load(folder, **named)

    monkeypatch.setattr(held_bundles, "load_bundle", counted)
    return loaded


def promoted(champions, count):
    tenants = [uuid.uuid4() for _ in range(count)]
    for tenant in tenants:
        champions.promote(tenant, MODEL)
    return tenants


class TestHolding:
    def test_what_is_used_least_lately_makes_room(self, champions, bundles_dir, loads):
        first, second, third = promoted(champions, 3)

        async def ask():
            size = (await Champions(bundles_dir, max_bytes=1).champion(first, MODEL)).size
            loads.clear()
            held = Champions(bundles_dir, max_bytes=2 * size)
            for tenant in (first, second, first, third, first, second):
                await held.champion(tenant, MODEL)
                assert held.bytes <= 2 * size
            return held.bytes / size

        assert asyncio.run(ask()) == 2
        # The third pushed out the second, which was asked for longest ago, and the first stayed.
        assert loads == [first, second, third, second]

    def test_a_bundle_larger_than_the_limit_still_serves(self, champions, bundles_dir):
        (tenant,) = promoted(champions, 1)
        assert asyncio.run(Champions(bundles_dir, max_bytes=1).champion(tenant, MODEL)).version == "1"

    def test_misses_at_the_same_time_load_once(self, champions, bundles_dir, loads):
        (tenant,) = promoted(champions, 1)

        async def ask():
            held = Champions(bundles_dir, max_bytes=10**9)
            return await asyncio.gather(*(held.champion(tenant, MODEL) for _ in range(50)))

        bundles = asyncio.run(ask())
        assert loads == [tenant]
        assert all(bundle is bundles[0] for bundle in bundles)

    def test_who_goes_away_does_not_stop_the_loading_for_others(self, champions, bundles_dir):
        (tenant,) = promoted(champions, 1)

        async def ask():
            held = Champions(bundles_dir, max_bytes=10**9)
            first = asyncio.create_task(held.champion(tenant, MODEL))
            second = asyncio.create_task(held.champion(tenant, MODEL))
            await asyncio.sleep(0)
            first.cancel()
            return await second

        assert asyncio.run(ask()).version == "1"

    def test_a_withdrawn_champion_is_forgotten(self, champions, bundles_dir):
        (tenant,) = promoted(champions, 1)

        async def ask():
            held = Champions(bundles_dir, max_bytes=10**9)
            await held.champion(tenant, MODEL)
            (bundles_dir / str(tenant) / MODEL / "champion.json").unlink()
            with pytest.raises(ModelNotTrained):
                await held.champion(tenant, MODEL)
            return held.bytes

        assert asyncio.run(ask()) == 0

    def test_a_broken_bundle_counts_for_nothing(self, champions, bundles_dir):
        tenant = uuid.uuid4()
        champions.point(tenant, MODEL, "0" * 64)

        async def ask():
            held = Champions(bundles_dir, max_bytes=10**9)
            with pytest.raises(BundleBroken):
                await held.champion(tenant, MODEL)
            return held.bytes

        assert asyncio.run(ask()) == 0


# Of each of four threads: a key may ask 600 times a minute.
ASKED = 140


class TestSwapUnderLoad:
    def test_promotions_drop_no_request_and_mix_no_versions(self, api, make_tenant, champions, online):
        owner = make_tenant()
        contact_id = str(uuid.uuid4())
        now_us = int(time.time() * 1e6)
        online(owner.tenant_id, contact_id, {"gender": "f"}, now_us, snapshot_at=now_us, orders_total=2)
        folders = {
            version: champions.promote(owner.tenant_id, MODEL, version=version, bias=bias)
            for version, bias in (("1", -3.0), ("2", 3.0))
        }
        over = threading.Event()
        answers, switches = [], itertools.count()

        def ask():
            body = json.dumps({"contact_id": contact_id})
            headers = {"X-API-Key": owner.api_key, "Content-Type": "application/json"}
            for _ in range(ASKED):
                if over.is_set():
                    break
                answer = api.post("/api/v1/ml/models/lead-scoring/predict", headers=headers, content=body)
                answers.append((answer.status_code, answer.json()))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 20
        while time.monotonic() < until and any(thread.is_alive() for thread in threads):
            version = str(1 + next(switches) % 2)
            champions.point(owner.tenant_id, MODEL, folders[version].name, version)
            time.sleep(0.02)
        over.set()
        for thread in threads:
            thread.join()
        assert {status for status, _ in answers} == {200}
        # Each version keeps to its own side of a quarter: no answer was made of two bundles.
        assert {(body["model_version"], body["probability"] > 0.25) for _, body in answers} == {
            ("1", False), ("2", True),
        }  # fmt: skip


class TestTogether:
    def test_requests_answered_together_get_each_their_own(self, api, make_tenant, champions, online):
        owner = make_tenant()
        champions.promote(owner.tenant_id, MODEL)
        now_us = int(time.time() * 1e6)
        orders = {str(uuid.uuid4()): number for number in range(6)}
        for contact_id, number in orders.items():
            online(owner.tenant_id, contact_id, {}, now_us, snapshot_at=now_us, orders_total=number)
        unknown = str(uuid.uuid4())
        asked = [*orders, unknown, *orders]
        predictor = api.app.state.predictor

        async def ask():
            from serving.kit.clock import utc_now

            return await asyncio.gather(
                *(predictor.predict(owner.tenant_id, MODEL, uuid.UUID(each), at=utc_now()) for each in asked),
                return_exceptions=True,
            )

        found = api.portal.call(ask)
        assert type(found[len(orders)]).__name__ == "ContactNotFound"
        told = [one for one in found if not isinstance(one, Exception)]
        assert [str(one["contact_id"]) for one in told] == [*orders, *orders]
        chances = [one["probability"] for one in told[: len(orders)]]
        assert chances == sorted(set(chances))
