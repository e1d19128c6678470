"""`python -m gateway.simulator`: serves until SIGTERM."""

import argparse
import logging
import sys

import uvicorn
from pydantic import ValidationError

from gateway.simulator.server import build_app
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.store import StateMismatch, Store

HOST = "127.0.0.1"


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 2 for settings that cannot work, each named on one line."""
    parser = argparse.ArgumentParser(prog="python -m gateway.simulator", description=__doc__)
    for name, field in SimulatorSettings.model_fields.items():
        default = "required" if field.is_required() else f"default {field.default}"
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"{default}; or GATEWAY_SIMULATOR_{name.upper()}")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = SimulatorSettings(**given)
        Store(settings.state_dir, settings.identity()).close()
    except ValidationError as error:
        for one in error.errors():
            name = str(one["loc"][0])
            option = f"--{name.replace('_', '-')} (GATEWAY_SIMULATOR_{name.upper()})"
            sys.stderr.write(f"simulator: {option}: {one['msg']}\n")
        return 2
    except (StateMismatch, OSError) as error:
        sys.stderr.write(f"simulator: --state-dir: {error}\n")
        return 2
    server = uvicorn.Server(uvicorn.Config(build_app(settings), host=HOST, port=settings.port, access_log=False))
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
