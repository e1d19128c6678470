"""What can go wrong between us and WhatsApp, and what the sender should do about it.

Every error carries `reaction`, `retry_after_seconds` and the provider's `code`; callers branch on these, not on prose.
"""

from enum import StrEnum


class Reaction(StrEnum):
    """What the sender does next. `UNKNOWN` means the message may or may not have gone out: never resend by itself."""

    BACK_OFF = "back_off"
    STOP_NUMBER = "stop_number"
    STOP_TEMPLATE = "stop_template"
    THIS_CONTACT = "this_contact"
    UNKNOWN = "unknown"


class GatewayError(Exception):
    """Base of this package's errors. `retry_after_seconds` is None when waiting is not the remedy."""

    reaction: Reaction = Reaction.UNKNOWN

    def __init__(
        self,
        detail: str = "",
        *,
        code: int | None = None,
        reaction: Reaction | None = None,
        retry_after_seconds: float | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(detail or type(self).__name__)
        self.detail = detail
        self.code = code
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds
        if reaction is not None:
            self.reaction = reaction


class InvalidPhoneNumber(GatewayError, ValueError):
    """`reason` is one of empty, missing_country_code, not_a_number, not_assigned, extension, synthetic_length."""

    reaction = Reaction.THIS_CONTACT

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotSent(GatewayError):
    """The request never left this machine: connection refused, no free connection, or `not_after` had passed."""

    reaction = Reaction.BACK_OFF


class SyntheticRecipient(NotSent):
    """A generated person's number was about to go to a real provider."""

    reaction = Reaction.THIS_CONTACT


class SendRejected(GatewayError):
    """The provider answered no: the message did not go out. Branch on `reaction` and `code`."""

    reaction = Reaction.THIS_CONTACT


class OutcomeUnknown(GatewayError):
    """The request left and no usable answer came. Only a status webhook settles it."""

    reaction = Reaction.UNKNOWN


class UnsupportedFeature(GatewayError):
    """This driver cannot express the message."""

    reaction = Reaction.THIS_CONTACT


class UnknownDriver(GatewayError, LookupError):
    """The registry has no driver of that name."""

    reaction = Reaction.STOP_NUMBER


class WebhookError(GatewayError):
    """Base of what is wrong with a webhook request."""


class ForgedWebhook(WebhookError):
    """The signature is missing or does not match the raw body. Answer 401 and read nothing of it."""


class MalformedWebhook(WebhookError):
    """Rightly signed, but not a webhook body."""


_DAY_SECONDS = 24 * 3600.0

# code -> (reaction, seconds to wait or None)
REACTIONS: dict[int, tuple[Reaction, float | None]] = {
    **dict.fromkeys((4, 80007), (Reaction.BACK_OFF, 60.0)),
    **dict.fromkeys((131000, 131016, 131057), (Reaction.BACK_OFF, 5.0)),
    130429: (Reaction.BACK_OFF, 1.0),
    131056: (Reaction.BACK_OFF, 4.0),
    **dict.fromkeys((0, 10, 190, *range(200, 300), 368), (Reaction.STOP_NUMBER, None)),
    **dict.fromkeys((130497, 131031, 131042, 131048, 131064), (Reaction.STOP_NUMBER, None)),
    **dict.fromkeys((132000, 132001, 132005, 132007, 132008), (Reaction.STOP_TEMPLATE, None)),
    **dict.fromkeys((131063, 132012, 132015, 132016), (Reaction.STOP_TEMPLATE, None)),
    **dict.fromkeys((131026, 131047, 131050, 130472, 131062), (Reaction.THIS_CONTACT, None)),
    131049: (Reaction.THIS_CONTACT, _DAY_SECONDS),
}  # fmt: skip


def reaction_to(code: int | None, http_status: int | None = None) -> Reaction:
    """What to do about a provider's code. One not listed counts against this one message; with a 5xx, nobody has said
    that the message was refused: whatever broke may have broken after it went out."""
    if code in REACTIONS:
        return REACTIONS[code][0]
    if http_status is not None and http_status >= 500:
        return Reaction.UNKNOWN
    if http_status == 429:
        return Reaction.BACK_OFF
    if http_status in (401, 403):
        return Reaction.STOP_NUMBER
    return Reaction.THIS_CONTACT


def wait_seconds(code: int | None, attempt: int = 1) -> float | None:
    """Seconds before `attempt` + 1 is worth making, or None when it is not. `attempt` counts from 1.

    131056 (too fast to one person) grows as 4^attempt; other waits double, up to an hour.
    """
    wait = REACTIONS.get(code, (None, None))[1] if code is not None else None
    if code == 131056:
        return float(min(4.0**attempt, _DAY_SECONDS))
    if wait is None or wait >= _DAY_SECONDS:
        return wait
    return float(min(wait * 2 ** (attempt - 1), 3600.0))


def rejection(
    code: int | None, detail: str, http_status: int | None = None, retry_after_seconds: float | None = None
) -> SendRejected | OutcomeUnknown:
    """The error for an answer that is no acceptance; the provider's own Retry-After wins over the table's wait."""
    reaction = reaction_to(code, http_status)
    if reaction is Reaction.UNKNOWN:
        return OutcomeUnknown(detail, code=code, http_status=http_status)
    wait = retry_after_seconds if retry_after_seconds is not None else wait_seconds(code)
    if wait is None and reaction is Reaction.BACK_OFF:
        wait = 5.0
    return SendRejected(detail, code=code, reaction=reaction, retry_after_seconds=wait, http_status=http_status)
