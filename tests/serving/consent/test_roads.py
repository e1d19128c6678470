"""Every road on which a person can say stop, over the signed webhook route and the inbox."""

from __future__ import annotations

import datetime as dt

import pytest

from serving.consent.confirmation import TEXTS, confirmation_text
from serving.consent.suppression import phone_hmac

from .conftest import ANNA

BUTTON = {"type": "button", "button": {"text": "Stop promotions", "payload": "STOP_PROMOTIONS"}}


def reply(kind: str, title: str, name: str = "1") -> dict:
    return {"type": "interactive", "interactive": {"type": kind, kind: {"id": name, "title": title}}}


class TestWords:
    @pytest.mark.parametrize(
        "content",
        [
            BUTTON,
            {"type": "button", "button": {"text": "Nein danke", "payload": "stop_promotions"}},
            {"type": "button", "button": {"text": "Detener promociones", "payload": "x"}},
            reply("button_reply", "Stop promotions"),
            reply("list_reply", "Unsubscribe"),
            {"type": "image", "image": {"id": "9", "caption": "please take me off your list"}},
            {"type": "edit", "edit": {"original_message_id": "w", "message": {
                "type": "text", "text": {"body": "do not send me any more messages"}}}},
            {"type": "text", "text": {"body": "remove me from your list"}, "context": {"id": "wamid.campaign"}},
            {"type": "text", "text": {"body": "🛑✋"}},
            {"type": "text", "text": {"body": "s t o p"}},
            {"type": "text", "text": {"body": "ＳＴＯＰ"}},
            {"type": "text", "text": {"body": "SТОР"}},
            {"type": "text", "text": {"body": "st\u200bop"}},
            {"type": "text", "text": {"body": "unsubcribe me"}},
        ],
    )  # fmt: skip
    def test_end_marketing_on_every_road(self, shop, content):
        shop.say("JOIN")
        shop.say(after=5, **content)
        shop.process()
        assert [status for status, _ in shop.consents()] == ["opted_out"]
        assert shop.all("SELECT phone_hmac FROM unsubscribers") == [(phone_hmac("+" + ANNA, "key"),)]

    @pytest.mark.parametrize(
        "content",
        [
            {"type": "reaction", "reaction": {"message_id": "wamid.x", "emoji": "🛑"}},
            {"type": "text", "text": {"body": "don't stop sending these"}},
            {"type": "image", "image": {"id": "9", "caption": "please stop by at 6"}},
            reply("button_reply", "Show me more"),
        ],
    )
    def test_what_means_something_else_changes_nothing(self, shop, content):
        shop.say("JOIN")
        shop.say(after=5, **content)
        shop.process()
        assert [status for status, _ in shop.consents()] == ["opted_in"]

    def test_the_event_keeps_wording_language_and_rule(self, shop):
        wamid = shop.say("Bitte nehmt mich aus dem Verteiler")
        shop.process()
        ((source, wording, language, proof),) = shop.all(
            "SELECT source, wording, language, proof FROM consent_events"
        )  # fmt: skip
        assert (source, wording, language) == ("whatsapp_sentence", "Bitte nehmt mich aus dem Verteiler", "de")
        assert proof["provider_id"] == wamid
        assert proof["grade"] == "sentence"
        assert proof["rule"]

    def test_the_label_of_the_reply_agrees(self, shop):
        shop.execute(
            "INSERT INTO campaigns (tenant_id, id, name, message_template) VALUES (%s, gen_random_uuid(), 'C', 'Hi')",
            shop.tenant_id,
        )
        shop.post("smb_message_echoes", "message_echoes", {
            "id": "wamid.echo", "from": "1", "to": ANNA, "timestamp": str(int(shop.now.timestamp())), "type": "text",
            "text": {"body": "An offer"}})  # fmt: skip
        shop.say(after=5, type="text", text={"body": "please remove me from your list"}, context={"id": "wamid.echo"})
        shop.process()
        assert shop.all("SELECT classification FROM replies") == [("unsubscribe",)]

    def test_an_own_word_opts_in_again(self, shop):
        shop.say("please take me off your list")
        shop.say("START", after=60)
        shop.process()
        assert shop.consents() == [("opted_in", "whatsapp_keyword")]
        assert shop.all("SELECT count(*) FROM unsubscribers") == [(0,)]


class TestConfirmation:
    def test_a_sentence_is_confirmed_once_in_its_language(self, shop):
        shop.say("Je ne veux plus recevoir vos messages")
        batch = shop.process()
        assert batch.queued == 1
        assert shop.queued() == [
            ("service", None, "Vous ne recevrez plus de messages publicitaires de Bean & Co. Si c'est une erreur,"
             " répondez START.")
        ]  # fmt: skip
        shop.say("arrêtez de m'envoyer des messages", after=60)
        assert shop.process().queued == 0
        assert len(shop.queued()) == 1

    @pytest.mark.parametrize("content", [{"type": "text", "text": {"body": "STOP"}}, BUTTON])
    def test_an_exact_word_is_confirmed_only_where_the_tenant_asks_for_it(self, shop, content):
        shop.say(**content)
        shop.process()
        assert shop.queued() == []
        shop.set(opt_out_confirmation={"for_words": True})
        shop.say("JOIN", after=60)
        shop.say(after=120, **content)
        shop.process()
        assert len(shop.queued()) == 1

    def test_none_within_a_day_of_the_last_one(self, shop):
        shop.say("remove me from your list")
        shop.process()
        shop.say("START", after=60)
        shop.say("remove me from your list", after=120)
        shop.process()
        assert shop.consents() == [("opted_out", "whatsapp_sentence")]
        assert len(shop.queued()) == 1

    def test_none_for_what_was_said_long_ago_or_lifted_in_the_same_batch(self, shop):
        shop.say("remove me from your list", after=-2 * 86_400)
        shop.say("remove me from your list", sender="999100000042")
        shop.say("START", after=60, sender="999100000042")
        shop.process()
        assert shop.queued() == []

    def test_a_tenant_may_switch_it_off_or_say_it_in_its_own_words(self, shop):
        shop.set(opt_out_confirmation={"enabled": False})
        shop.say("remove me from your list")
        shop.process()
        assert shop.queued() == []
        shop.set(opt_out_confirmation={"texts": {"en": "Bye from {business} {x}"}})
        shop.say("remove me from your list", sender="999100000043")
        shop.process()
        assert [text for _, _, text in shop.queued()] == ["Bye from Bean & Co {x}"]

    @pytest.mark.parametrize("settings", [{}, {"opt_out_confirmation": "x"}, {"opt_out_confirmation": {"texts": [1]}},
                                          {"opt_in_keywords": None}])  # fmt: skip
    def test_odd_settings_leave_the_usual_text(self, settings):
        assert confirmation_text("de", "B", settings) == TEXTS["de"].format(business="B", keyword="START")


class TestPreferences:
    def test_a_stop_ends_marketing(self, shop):
        shop.say("JOIN")
        shop.prefer("stop", after=5)
        shop.process()
        assert shop.consents() == [("opted_out", "user_preferences")]
        assert shop.queued() == []

    def test_a_resume_takes_back_only_the_providers_own_stop(self, shop):
        shop.say("JOIN")
        shop.prefer("stop", after=5)
        shop.prefer("resume", after=10)
        shop.process()
        assert [status for status, _ in shop.consents()] == ["opted_in"]
        assert shop.all("SELECT count(*) FROM unsubscribers") == [(0,)]

    @pytest.mark.parametrize("before", [("STOP",), (), ("JOIN", "STOP")])
    def test_a_resume_grants_nothing_by_itself(self, shop, before):
        shop.say("hello")
        for index, word in enumerate(before, 1):
            shop.say(word, after=index)
        shop.prefer("stop", after=5)
        shop.prefer("resume", after=10)
        shop.process()
        assert [status for status, _ in shop.consents()] == ["opted_out"]

    def test_a_resume_does_not_outdo_a_later_word(self, shop):
        shop.say("JOIN")
        shop.prefer("stop", after=5)
        shop.say("STOP", after=6)
        shop.prefer("resume", after=10)
        shop.process()
        assert [status for status, _ in shop.consents()] == ["opted_out"]

    def test_a_resume_that_overtakes_its_stop_lifts_nothing(self, shop):
        shop.say("JOIN")
        shop.prefer("resume", after=10)
        shop.process()
        shop.prefer("stop", after=5)
        shop.process()
        assert [status for status, _ in shop.consents()] == ["opted_out"]

    def test_a_number_without_a_contact_is_listed_and_stays_nobody(self, shop):
        shop.prefer("stop")
        shop.process()
        assert shop.all("SELECT phone_hmac, reason FROM unsubscribers") == [
            (phone_hmac("+" + ANNA, "key"), "user_preferences")
        ]
        assert shop.all("SELECT count(*) FROM contacts") == [(0,)]
        shop.prefer("resume", after=5)
        shop.process()
        assert shop.all("SELECT count(*) FROM unsubscribers") == [(0,)]

    def test_a_stop_at_another_number_of_a_person_holds_at_both(self, shop):
        shop.say(type="text", text={"body": "JOIN"}, from_user_id="US.1")
        item = {"wa_id": "999100000042", "user_id": "US.1", "category": "marketing_messages", "value": "stop",
                "timestamp": str(int(shop.now.timestamp()) + 5)}  # fmt: skip
        shop.post("user_preferences", "user_preferences", item)
        shop.process()
        assert shop.consents() == [("opted_out", "user_preferences")]
        listed = {phone_hmac(number, "key") for number in ("+" + ANNA, "+999100000042")}
        assert {row[0] for row in shop.all("SELECT phone_hmac FROM unsubscribers")} == listed
        shop.post(
            "user_preferences", "user_preferences", item | {"value": "resume", "timestamp": item["timestamp"] + "0"}
        )
        shop.process()
        assert shop.consents() == [("opted_out", "user_preferences")]

    def test_another_category_is_left_alone(self, shop):
        shop.say("JOIN")
        item = {"wa_id": ANNA, "category": "utility", "value": "stop", "timestamp": "1770000000"}
        shop.post("user_preferences", "user_preferences", item)
        shop.process()
        assert [status for status, _ in shop.consents()] == ["opted_in"]


def test_the_moments_are_the_persons(shop):
    shop.prefer("stop", after=7)
    shop.say("hello")
    shop.process()
    ((at,),) = shop.all("SELECT date FROM unsubscribers")
    assert at == (shop.now + dt.timedelta(seconds=7)).replace(microsecond=0) or at > shop.now
