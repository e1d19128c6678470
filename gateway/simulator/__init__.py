"""A Cloud API server with seeded people behind it: `python -m gateway.simulator`. docs/simulator.md has the model."""
