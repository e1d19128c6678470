"""PhoneNumber: E.164, validated once where it enters, cheap to carry afterwards."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers

from gateway.errors import InvalidPhoneNumber
from gateway.numbering import is_surely_valid

# The ITU lists 999 as reserved, so no person can own such a number: safe for generated people.
_SYNTHETIC = re.compile(r"\+999[0-9]{9,12}")
_SEPARATORS = re.compile(r"[\s().\-\u00a0\u2010-\u2015/]+")
_DIGITS = re.compile(r"[0-9]{7,15}")


@dataclass(frozen=True, slots=True, order=True)
class PhoneNumber:
    """A phone number in E.164. Build it with `parse`, `from_wa_id` or `synthetic`; the constructor does not check."""

    e164: str

    def __str__(self) -> str:
        return self.e164

    @property
    def is_synthetic(self) -> bool:
        """True for +999 numbers, which belong to generated people and never reach a real provider."""
        return self.e164.startswith("+999")

    @property
    def wa_id(self) -> str:
        """The digits without the plus, as providers write them."""
        return self.e164[1:]

    @classmethod
    def parse(cls, text: str, default_region: str | None = None) -> "PhoneNumber":
        """The number written in `text`; `default_region` (ISO 3166, e.g. "DE") reads national notation.

        Raises: InvalidPhoneNumber.
        """
        return cls(_e164(text, default_region))

    @classmethod
    def parse_many(
        cls, texts: Iterable[str], default_region: str | None = None
    ) -> "list[PhoneNumber | InvalidPhoneNumber]":
        """One result per text, in order: the number, or the error `parse` would raise."""
        results: list[PhoneNumber | InvalidPhoneNumber] = []
        for text in texts:
            try:
                results.append(cls(_e164(text, default_region)))
            except InvalidPhoneNumber as error:
                results.append(error)
        return results

    @classmethod
    def from_wa_id(cls, wa_id: str | None) -> "PhoneNumber | None":
        """The number behind a WhatsApp id, or None when it is not made of digits (a user id, a placeholder).

        WhatsApp is the authority that the account exists, so a number our metadata does not know is kept as it is.
        """
        return _from_wa_id(wa_id) if wa_id else None

    @classmethod
    def synthetic(cls, key: str, namespace: str = "") -> "PhoneNumber":
        """A number nobody can own, the same for the same key and namespace: +999 and 12 digits of a hash."""
        digest = hashlib.blake2b(f"{namespace}\x1f{key}".encode(), digest_size=8).digest()
        return cls(f"+999{int.from_bytes(digest) % 10**12:012d}")


@lru_cache(maxsize=65536)
def _e164(text: str, default_region: str | None) -> str:
    if not isinstance(text, str) or not text.strip():
        raise InvalidPhoneNumber("empty")
    compact = _SEPARATORS.sub("", text)
    if compact.startswith("00"):
        compact = "+" + compact[2:]
    if compact.startswith("+999"):
        if not _SYNTHETIC.fullmatch(compact):
            raise InvalidPhoneNumber("synthetic_length")
        return compact
    if is_surely_valid(compact):
        return compact
    if not compact.startswith("+") and default_region is None:
        raise InvalidPhoneNumber("missing_country_code")
    try:
        number = phonenumbers.parse(compact, default_region)
    except phonenumbers.NumberParseException as error:
        raise InvalidPhoneNumber("not_a_number") from error
    if number.extension:
        raise InvalidPhoneNumber("extension")
    if not phonenumbers.is_valid_number(number):
        raise InvalidPhoneNumber("not_assigned")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@lru_cache(maxsize=65536)
def _from_wa_id(wa_id: str) -> PhoneNumber | None:
    digits = wa_id.removeprefix("+")
    if not _DIGITS.fullmatch(digits):
        return None
    # WhatsApp still files Mexican mobiles under 521 and older Brazilian ones without their ninth digit; left alone, an
    # imported contact and the same person's reply would be two people.
    if len(digits) == 13 and digits.startswith("521"):
        digits = "52" + digits[3:]
    elif len(digits) == 12 and digits.startswith("55") and digits[4] in "6789":
        digits = f"{digits[:4]}9{digits[4:]}"
    return PhoneNumber("+" + digits)
