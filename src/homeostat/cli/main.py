"""The `homeostat` command."""

import sys

import typer
from click.exceptions import ClickException, Exit

from homeostat import __version__
from homeostat.cli import checks, findings, proposals, serving, setting_up
from homeostat.cli.output import out, show_error
from homeostat.core.errors import HomeostatError

app = typer.Typer(
    name="homeostat",
    help="Let a running Python system improve itself under control.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
for module in (serving, setting_up, checks):
    module.register(app)
proposals.register(app)
findings.register(app)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        out.print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; never shows a traceback for an error of ours."""
    try:
        result = app(standalone_mode=False)
    except HomeostatError as error:
        sys.exit(show_error(error))
    except Exit as error:
        sys.exit(error.exit_code)
    except ClickException as error:
        error.show()
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    sys.exit(result if isinstance(result, int) else 0)
