from random import Random

import phonenumbers

from gateway.numbering import is_surely_valid


def _phonenumbers_agrees(text: str) -> bool:
    number = phonenumbers.parse(text)
    is_same = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) == text
    return phonenumbers.is_valid_number(number) and is_same


class TestIsSurelyValid:
    def test_a_yes_is_never_wrong(self):
        rng = Random(7)
        yes = 0
        for region in sorted(phonenumbers.SUPPORTED_REGIONS):
            example = phonenumbers.example_number(region)
            e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            for _ in range(25):
                changed = rng.randint(0, 5)
                tail = "".join(rng.choices("0123456789", k=max(changed + rng.choice((-1, 0, 0, 0, 1)), 0)))
                text = e164[: len(e164) - changed] + tail
                if is_surely_valid(text):
                    yes += 1
                    assert _phonenumbers_agrees(text), text
        assert yes > 1500

    def test_says_nothing_about_what_is_not_e164(self):
        assert not any(map(is_surely_valid, ["", "+", "0151", "+49 151 12345678", "+1202", "+999123456789", "+49x"]))
        assert is_surely_valid("+4915112345678")
