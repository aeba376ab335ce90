"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Repo = Annotated[Path | None, typer.Option("--repo", help="The program's Git repository; default: around here.")]
StateDir = Annotated[
    Path | None, typer.Option("--state-dir", help="Where Homeostat keeps its state; default: REPO/.homeostat.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
