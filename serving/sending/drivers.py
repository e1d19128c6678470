"""The drivers of a worker process, one for each sending number, with their connections kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gateway.driver import Driver, TemplateDriver
from gateway.registry import build_driver
from gateway.settings import GatewaySettings
from gateway.types import Template


class _Number(Protocol):
    driver: Any
    provider_number_id: Any
    business_account_id: Any


@dataclass
class Drivers:
    """Builds the driver of a number on first use. Credentials are the process's; only the number differs."""

    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    _built: dict[tuple[str, str], Driver] = field(default_factory=dict)

    def of(self, name: str, provider_number_id: str) -> Driver:
        """Raises: UnknownDriver."""
        key = (name, provider_number_id)
        if key not in self._built:
            config = replace(self.gateway.number_config(), phone_number_id=provider_number_id)
            self._built[key] = build_driver(name, config)
        return self._built[key]

    def templates(self, number: _Number, name: str) -> list[Template] | None:
        """The provider's templates of this name; None where the number's driver knows no templates. Blocks on the
        network. Raises: GatewayError."""
        driver = self.of(number.driver, number.provider_number_id)
        return driver.templates(number.business_account_id, name) if isinstance(driver, TemplateDriver) else None

    def close(self) -> None:
        for driver in self._built.values():
            driver.close()
        self._built.clear()
