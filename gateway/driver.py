"""What a driver is. Campaign code knows these Protocols only; a driver's name never appears in an `if`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol, runtime_checkable

from gateway.errors import GatewayError
from gateway.types import GatewayEvent, OutboundMessage, SendReceipt, Template


class Abilities(StrEnum):
    """How a send whose answer was lost is settled.

    DEDUPE: the same id returns the stored result. LOOKUP: the provider can be asked. NEITHER: at most once; it stays
    unknown until a status webhook names its message id.
    """

    DEDUPE = "dedupe"
    LOOKUP = "lookup"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class NumberConfig:
    """One sending number's place and credentials. Secrets stay out of `repr`."""

    base_url: str
    phone_number_id: str
    access_token: str
    app_secret: str
    verify_token: str
    timeout_seconds: float = 5.0
    max_connections: int = 64

    def __repr__(self) -> str:
        return f"NumberConfig(base_url={self.base_url!r}, phone_number_id={self.phone_number_id!r})"


class Driver(Protocol):
    """Sends messages of one number and reads its webhooks."""

    name: ClassVar[str]
    abilities: ClassVar[Abilities]
    connections: int
    """How many messages may be on the wire at once; more given to one call wait, and may pass their `not_after`."""

    def send(self, message: OutboundMessage) -> SendReceipt:
        """The receipt; blocks on the network for at most the timeout. Raises: GatewayError."""
        ...

    async def send_batch(self, messages: Sequence[OutboundMessage]) -> list[SendReceipt | GatewayError]:
        """One result per message, in order, sent concurrently. Connections are kept for the running event loop."""
        ...

    def send_all(self, messages: Sequence[OutboundMessage]) -> list[SendReceipt | GatewayError]:
        """`send_batch` for synchronous callers, on an event loop the driver keeps, so connections outlive the call."""
        ...

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Nothing, if `body` was signed by the provider. Constant time. Raises: ForgedWebhook."""
        ...

    def challenge(self, query: Mapping[str, str]) -> str:
        """The text to answer a subscription check (GET) with. Raises: ForgedWebhook."""
        ...

    def parse_webhook(self, body: bytes) -> list[GatewayEvent]:
        """The events in a body that `verify` accepted, none dropped; what cannot be read is an OtherEvent with its
        problem. No network."""
        ...

    def parse_change(self, raw: Mapping[str, Any], received_at: datetime | None = None) -> list[GatewayEvent]:
        """The events of one change, or of one event's `raw` read back from storage. `received_at` (UTC, else now)
        stands in for a moment that cannot be true. Raises: MalformedWebhook."""
        ...

    def close(self) -> None:
        """Closes connections and the loop of `send_all`."""
        ...


@runtime_checkable
class TemplateDriver(Protocol):
    """What a driver can besides, if its provider keeps message templates."""

    def templates(self, business_account_id: str, name: str) -> list[Template]:
        """The account's templates of exactly this name, one for each language; blocks on the network for at most the
        timeout. Raises: GatewayError."""
        ...
