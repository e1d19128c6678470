"""The `rapport` command. Each group has a file; what is heavy is imported inside the commands."""

from __future__ import annotations

import sys
import traceback

import click
import typer

from orchestration.cli import console, demo, import_, run, services, tenants

app = typer.Typer(
    name="rapport",
    help="Consent-based WhatsApp marketing that learns: run the product, its data graph and its set-up.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
debugging = False


@app.callback()
def options(debug: bool = typer.Option(False, "--debug", help="Show tracebacks.")) -> None:
    global debugging
    debugging = debug


app.command("demo")(demo.demo)
app.command("up")(services.up)
app.command("down")(services.down)
app.command("status")(services.status)
app.command("doctor")(services.doctor)
app.command("migrate")(services.migrate)
app.command("import")(import_.import_history)
app.command("run")(run.run)
app.add_typer(tenants.app, name="tenant", help="Businesses on this installation.")


def main() -> None:
    """Runs the command. Exit codes: 0 done, 1 failed, 2 wrong input, 3 the product is not ready, 130 interrupted."""
    try:
        code = app(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.ClickException as error:
        error.show()
        code = console.BAD_INPUT
    except (KeyboardInterrupt, click.Abort):
        console.err.print("interrupted", style="yellow")
        code = console.INTERRUPTED
    except Exception as error:
        if debugging:
            traceback.print_exc()
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
            console.err.print(f"[red]error:[/red] {console.escaped(reason)}", highlight=False, soft_wrap=True)
        code = getattr(error, "code", console.FAILED)
        code = code if isinstance(code, int) else console.FAILED
    sys.exit(code or 0)
