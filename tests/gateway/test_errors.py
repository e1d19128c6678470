import pytest

from gateway.errors import Reaction, reaction_to, rejection, wait_seconds


class TestReactionTo:
    @pytest.mark.parametrize(
        ("codes", "reaction"),
        [
            ([4, 80007, 130429, 131000, 131016, 131056, 131057], Reaction.BACK_OFF),
            ([0, 10, 190, 200, 250, 299, 368, 130497, 131031, 131042, 131048, 131064], Reaction.STOP_NUMBER),
            ([131063, 132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016], Reaction.STOP_TEMPLATE),
            ([130472, 131026, 131047, 131049, 131050, 131062], Reaction.THIS_CONTACT),
        ],
    )
    def test_every_listed_code(self, codes, reaction):
        assert {reaction_to(code) for code in codes} == {reaction}

    def test_a_code_not_listed_follows_the_http_status(self):
        assert reaction_to(100, 400) is Reaction.THIS_CONTACT
        assert reaction_to(None, 500) is Reaction.UNKNOWN
        assert reaction_to(None, 429) is Reaction.BACK_OFF
        assert reaction_to(None, 403) is Reaction.STOP_NUMBER


class TestWaitSeconds:
    def test_too_fast_to_one_person_grows_as_powers_of_four(self):
        assert [wait_seconds(131056, attempt) for attempt in (1, 2, 3)] == [4, 16, 64]

    def test_others_double_up_to_an_hour(self):
        assert [wait_seconds(130429, attempt) for attempt in (1, 2, 3)] == [1, 2, 4]
        assert wait_seconds(4, 30) == 3600

    def test_a_capped_contact_waits_a_day_whatever_the_attempt(self):
        assert wait_seconds(131049) == wait_seconds(131049, 5) == 86400

    def test_no_wait_where_waiting_is_no_remedy(self):
        assert wait_seconds(131026) is None
        assert wait_seconds(None) is None

    def test_the_providers_own_wait_wins(self):
        assert rejection(130429, "", 429, retry_after_seconds=30).retry_after_seconds == 30
