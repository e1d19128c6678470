"""Drivers by name: the only importer of `gateway.drivers`."""

from collections.abc import Callable

from gateway.driver import Driver, NumberConfig
from gateway.drivers.cloud_api.driver import CloudApiDriver
from gateway.errors import UnknownDriver

_DRIVERS: dict[str, Callable[[NumberConfig], Driver]] = {CloudApiDriver.name: CloudApiDriver}


def driver_names() -> list[str]:
    """The names `build_driver` knows, sorted."""
    return sorted(_DRIVERS)


def build_driver(name: str, config: NumberConfig) -> Driver:
    """A driver for one number; opens no connection yet. Raises: UnknownDriver."""
    try:
        return _DRIVERS[name](config)
    except KeyError:
        raise UnknownDriver(f"no driver {name!r}; known: {', '.join(driver_names())}") from None
