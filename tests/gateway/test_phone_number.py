import pytest

from gateway.errors import InvalidPhoneNumber
from gateway.types import PhoneNumber


class TestParse:
    @pytest.mark.parametrize(
        ("text", "region", "e164"),
        [
            ("+49 151 1234-5678", None, "+4915112345678"),
            ("0049 (151) 12345678", None, "+4915112345678"),
            ("0151/12345678", "DE", "+4915112345678"),
            ("(202) 456-1111", "US", "+12024561111"),
            ("+999 123 456 789", None, "+999123456789"),
        ],
    )
    def test_reads_what_people_type(self, text, region, e164):
        assert PhoneNumber.parse(text, region).e164 == e164

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "empty"),
            ("   ", "empty"),
            ("0151 12345678", "missing_country_code"),
            ("+abc", "not_a_number"),
            ("+1 202 055 0123", "not_assigned"),
            ("+999 12", "synthetic_length"),
            ("+9991234567890123", "synthetic_length"),
            ("+12024561111;ext=5", "extension"),
        ],
    )
    def test_says_why_not(self, text, reason):
        with pytest.raises(InvalidPhoneNumber) as invalid:
            PhoneNumber.parse(text)
        assert invalid.value.reason == reason

    def test_digits_of_another_script_are_the_same_number(self):
        written = "+49151" + "".join(chr(0x0660 + int(digit)) for digit in "12345678")
        assert PhoneNumber.parse(written) == PhoneNumber("+4915112345678")
        assert PhoneNumber.from_wa_id(written) is None

    def test_parse_many_keeps_places(self):
        good, bad = PhoneNumber.parse_many(["+4915112345678", "nonsense"])
        assert good == PhoneNumber("+4915112345678")
        assert isinstance(bad, InvalidPhoneNumber)


class TestSynthetic:
    def test_is_stable_distinct_and_parses(self):
        numbers = [PhoneNumber.synthetic(str(key), "a") for key in range(1000)]
        assert len(set(numbers)) == 1000
        assert numbers[0] == PhoneNumber.synthetic("0", "a") != PhoneNumber.synthetic("0", "b")
        assert all(number.is_synthetic and PhoneNumber.parse(number.e164) == number for number in numbers)
        assert not PhoneNumber.parse("+4915112345678").is_synthetic
