"""The `rapport` command. Each group has a file; what is heavy is imported inside the commands."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from orchestration.cli import backfill, console, demo, features, import_, inbox, models, purge, run, services, tenants
from orchestration.runtime.environment import SettingUnusable, read_env_file
from orchestration.runtime.home import HomeLocked
from orchestration.runtime.postgres import PostgresUnavailable
from orchestration.runtime.privacy import UMASK
from orchestration.runtime.redis import RedisUnavailable
from orchestration.runtime.services import StoreUnreachable

DEBUG = "--debug"
NOT_READY = (HomeLocked, PostgresUnavailable, RedisUnavailable, StoreUnreachable)

app = typer.Typer(
    name="rapport",
    help="Consent-based WhatsApp marketing that learns: run the product, its data graph and its set-up.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(debug: bool = typer.Option(False, DEBUG, help="Show tracebacks. May stand anywhere.")) -> None:
    # `main` has taken it out of the words; it is declared here for the help.
    pass


app.command("demo")(demo.demo)
app.command("up")(services.up)
app.command("down")(services.down)
app.command("status")(services.status)
app.command("password")(services.password)
app.command("exec")(services.exec_process)
app.command("doctor")(services.doctor)
app.command("migrate")(services.migrate)
app.command("import")(import_.import_history)
app.command("run")(run.run)
app.command("backfill")(backfill.backfill)
app.command("purge")(purge.purge)
for command in (models.models, models.train, models.promote, models.rollback, models.score):
    app.command(command.__name__)(command)
app.add_typer(
    features.app, name="features", help="What the models may know about a contact: list, show, sample, drift."
)
app.add_typer(tenants.app, name="tenant", help="Businesses on this installation.")
app.add_typer(inbox.app, name="inbox", help="Events that could not be applied: show, retry.")


def main() -> None:
    """Runs the command. Exit codes: 0 done, 1 failed, 2 wrong input, 3 the product is not ready, 130 interrupted."""
    code = console.FAILED

    def leave() -> None:
        # Registered first, and so called last. After this Python would look through all that was imported for what
        # nobody needs any more: two seconds after a run.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)

    atexit.register(leave)
    code = perform(sys.argv[1:])
    sys.exit(code)


def perform(words: Sequence[str]) -> int:
    """The exit code of `rapport` with these words."""
    if DEBUG not in words:
        warnings.simplefilter("ignore")
    os.umask(UMASK)
    try:
        read_env_file()
        code = app([word for word in words if word != DEBUG], prog_name="rapport", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = console.INTERRUPTED
    except Exception as error:
        if DEBUG in words:
            traceback.print_exc()
        elif _reason(error):
            console.err.print(f"[red]error:[/red] {console.escaped(_reason(error))}", highlight=False, soft_wrap=True)
        return _code(error)
    if code == console.INTERRUPTED:
        console.err.print("interrupted", style="yellow")
    return code if isinstance(code, int) else 0


def _reason(error: Exception) -> str:
    """The error in one line."""
    if isinstance(error, TyperException):
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        context = getattr(error, "ctx", None)
        return f"{message} (see `{context.command_path} --help`)" if context and message else message
    text = str(error) or type(error).__name__
    fields = getattr(error, "fields", {})
    details = [f"{one['field']}: {one['message']}" for one in fields.get("errors", [])]
    return " ".join("; ".join([text, *details]).split())


def _code(error: Exception) -> int:
    code = getattr(error, "code", None)  # of our own errors; others use the name for other things
    if isinstance(code, int) and type(error).__module__.startswith("orchestration."):
        return code
    if isinstance(error, NOT_READY):
        return console.NOT_READY
    status = getattr(error, "status", None)  # of serving's errors: 4xx says that the caller's input is at fault
    refused = isinstance(status, int) and 400 <= status < 500
    return console.BAD_INPUT if refused or isinstance(error, (TyperException, SettingUnusable)) else console.FAILED
