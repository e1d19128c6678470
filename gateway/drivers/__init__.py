"""One folder per provider; import them through `gateway.registry`."""
