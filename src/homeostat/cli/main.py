"""The `homeostat` command."""

import os
import sys
from collections.abc import Sequence

import typer

from homeostat import __version__
from homeostat.cli import (
    checks,
    findings,
    ledger,
    patching,
    planning,
    policies,
    proposals,
    restarting,
    reverting,
    saving,
    serving,
    setting_up,
    status,
)
from homeostat.cli.output import show, show_error
from homeostat.core.errors import HomeostatError

_USAGE = 2
_INTERRUPTED = 130

# typer brings a copy of click with it, or uses the one that is installed; this is the base of either's errors.
_UsageError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="homeostat",
    help="Let a running Python system improve itself under control.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (serving, setting_up, status, checks, saving, restarting):
    module.register(app)
proposals.register(app)
reverting.register(app)
planning.register(app)
patching.register(app)
policies.register(app)
findings.register(app)
ledger.register(app)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        show(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; shows no traceback for an error of ours or of usage."""
    try:
        result = app(list(arguments), prog_name="homeostat", standalone_mode=False)
        sys.stdout.flush()
    except HomeostatError as error:
        return show_error(error)
    except typer.Exit as error:
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except SystemExit:
        return 0  # typer's way to end when the reader of our output has enough of it
    except BrokenPipeError:
        # The same, seen by us: Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined]
        return _USAGE
    return result if isinstance(result, int) else 0
