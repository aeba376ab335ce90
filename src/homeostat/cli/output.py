"""How commands speak: data on stdout, talk on stderr, errors in one form."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from homeostat.core.error_table import family_of
from homeostat.core.errors import HomeostatError

SCHEMA_VERSION = 1
"""Version of every ``--json`` document; it stands in the field ``schema``."""

out = Console(highlight=False, soft_wrap=True)
talk = Console(stderr=True, highlight=False, soft_wrap=True)


def emit_json(body: dict[str, Any]) -> None:
    """Print one JSON document, versioned."""
    sys.stdout.write(json.dumps({"schema": SCHEMA_VERSION, **body}, indent=2, ensure_ascii=False) + "\n")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows as a table for people; as tab-separated lines, whole, where no terminal listens."""
    if not out.is_terminal:
        for row in rows:
            sys.stdout.write("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row) + "\n")
        return
    table = Table(*columns, box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    out.print(table)


def say(text: str) -> None:
    """Tell the person something that is not data."""
    talk.print(text, markup=False)


def show_error(error: HomeostatError) -> int:
    """Print an error and its hint; return the exit code of its family."""
    talk.print(str(error), style="bold red", markup=False)
    if error.hint:
        talk.print(f"hint: {error.hint}", markup=False)
    return family_of(error).exit_code
