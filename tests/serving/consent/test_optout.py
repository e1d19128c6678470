"""Sentences in twelve languages that end marketing, and sentences that only look so."""

from __future__ import annotations

import pytest

from serving.consent.classification import classify
from serving.consent.grammar import Grammar
from serving.consent.optout import read_choice, read_opt_out

from .measure import GO_ON, STOP, sentences, wrong


class TestSentences:
    def test_nearly_all_that_mean_stop_are_found(self):
        missed = wrong(STOP, True)
        assert len(missed) <= 0.03 * len(sentences(STOP)), missed

    def test_nearly_none_that_mean_something_else_is(self):
        false = wrong(GO_ON, False)
        assert len(false) <= 0.01 * len(sentences(GO_ON)), false

    def test_the_label_of_a_reply_is_unsubscribe_whenever_consent_ends(self):
        for _, text in sentences(STOP) + sentences(GO_ON):
            assert (classify(text) == "unsubscribe") == (read_opt_out(text) is not None), text


class TestReadOptOut:
    @pytest.mark.parametrize(
        ("text", "language"),
        [
            ("Ich möchte mich von eurem Newsletter abmelden", "de"), ("no quiero recibir más ofertas suyas", "es"),
            ("Não quero mais receber mensagens de vocês", "pt"), ("je ne veux plus recevoir de pub", "fr"),
            ("لا ترسلوا لي رسائل مرة أخرى", "ar"), ("mujhe message mat bhejo", "hi"), ("не пишите мне больше", "ru"),
        ],
    )  # fmt: skip
    def test_names_the_language_and_the_rule(self, text, language):
        read = read_opt_out(text)
        assert read is not None
        assert (read.grade, read.language) == ("sentence", language)
        assert read.rule

    @pytest.mark.parametrize(
        "text",
        ["STOP!!!", "s t o p", "S.T.O.P.", "ＳＴＯＰ", "ЅТОР", "st\u200bop", "stooooop", "st0p", "🛑", "✋🏽", "🛑 🛑!",
         "𝐒𝐓𝐎𝐏", "Stop promotions", "Detener promociones"],
    )  # fmt: skip
    def test_an_exact_word_is_one_in_any_disguise(self, text):
        read = read_opt_out(text)
        assert read is not None
        assert read.grade == "word"

    @pytest.mark.parametrize(
        "text", ["unsubcribe me from this", "stop mesaging me", "stop sedning me these", "remvoe me from your list",
                 "please STOP sending me mesages", "pls un-subscribe"]
    )  # fmt: skip
    def test_slips_of_the_finger_are_read(self, text):
        assert read_opt_out(text) is not None

    @pytest.mark.parametrize(
        ("courtesy", "more"),
        [
            ("stop, thank you", "stop, I already paid for that"),
            ("stop grazie", "stop, ma il prezzo non era 20?"),
            ("стоп, пожалуйста", "стоп, а доставка входит?"),
            ("stop ya bıktım", "dur, fiyat neden farklı?"),
            ("स्टॉप प्लीज़", "bas 2 hi chahiye"),
        ],
    )
    def test_a_bare_stop_word_counts_with_courtesies_only(self, courtesy, more):
        assert read_opt_out(courtesy) is not None
        assert read_opt_out(more) is None

    @pytest.mark.parametrize("text", [None, "", "   ", "👍", "🛑 ahead?", "\x00", "x" * 70_000, "?" * 5000, "1" * 9000])
    def test_nothing_is_read_into_nothing(self, text):
        assert read_opt_out(text) is None

    def test_only_the_beginning_and_the_end_of_a_long_message_are_read(self):
        filling = "the weather was fine and we went for a walk. " * 200
        assert read_opt_out("Remove me from your list. " + filling) is not None
        assert read_opt_out(filling + "Remove me from your list.") is not None
        assert read_opt_out(filling + "Remove me from your list. " + filling) is None

    def test_a_buttons_hidden_name_counts(self):
        assert read_choice("Nein danke", "stop_promotions") is not None
        assert read_choice("Show more", "more-1") is None
        assert read_choice(None, None) is None


class TestGrammar:
    def grammar(self, **rules: list[str]) -> Grammar:
        read = Grammar()
        read.add_language(
            "xx",
            {
                "classes": {"GO": "go*, move on", "NO": "not, don't"},
                "rules": rules,
                "fillers": "pls",
                "courtesies": "thanks, so annoy*",
            },
        )
        return read

    @pytest.mark.parametrize(
        ("rule", "fitting", "other"),
        [
            ("GO there", "going pls there", "go right there"),
            ("GO .. there", "go right over there", "go a b c there"),
            ("^ GO $", "well, move on pls", "go now"),
            ("GO|stay there|$", "stay", "stay here"),
            ("GO & NO", "not you. go", "go"),
            ("GO ?", "go?", "go"),
            ("^ stop $$", "thanks. stop", "stop. thanks"),
            ("= stop", "pls stop so annoying! thanks", "stop. thanks, here it is"),
            ("= stop", "stop, thanks", "stop, thanks?"),
            ("= stop", "stop" + " thanks" * 10, "stop" + " thanks" * 30),
        ],
    )
    def test_a_rule_fits(self, rule, fitting, other):
        read = self.grammar(stop=[rule])
        assert list(read.matches(fitting))
        assert not list(read.matches(other))

    def test_vetoes_take_back_what_they_overlap_or_everything(self):
        read = self.grammar(stop=["GO"], unless=["NO GO"], never=["oops"])
        assert list(read.matches("go"))
        assert not list(read.matches("don't go"))
        assert list(read.matches("don't go. go"))
        assert not list(read.matches("go. oops"))

    @pytest.mark.parametrize("rule", ["UNKNOWN there", "..", "GO & "])
    def test_a_rule_that_cannot_be_read_is_refused(self, rule):
        with pytest.raises(ValueError, match="xx"):
            self.grammar(stop=[rule])
