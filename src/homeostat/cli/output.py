"""How commands speak: data on stdout, talk on stderr, errors in one form.

Texts of proposals and findings come from anybody. Before a person reads one, control characters and
the ones that turn the direction of writing are made visible: they could rewrite what a terminal shows.
JSON documents and a diff that goes into a file are data and stay as they are.
"""

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Any, Self

from homeostat.core.error_table import family_of
from homeostat.core.errors import HomeostatError

SCHEMA_VERSION = 1
"""Version of every ``--json`` document; it stands in the field ``schema``."""

_TREACHEROUS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_RAW_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_GUTTER = "  | "


def visible(text: str) -> str:
    """Return text in which nothing but line ends and tabs controls a terminal."""
    return _TREACHEROUS.sub(_escaped, text)


def emit_json(body: dict[str, Any]) -> None:
    """Print one JSON document, versioned."""
    document = {"schema": SCHEMA_VERSION, **body}
    # What JSON itself leaves as it is and a terminal obeys is written as JSON's own escape: the same document.
    text = _RAW_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(document, indent=2, ensure_ascii=False))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(document, indent=2)
    sys.stdout.write(text + "\n")


def show(text: str) -> None:
    """Print one line of data for people."""
    sys.stdout.write(_printable(_one_line(text), sys.stdout) + "\n")


def show_text(text: str) -> None:
    """Print lines of somebody else, each behind a mark, so that nobody takes one for a line of ours."""
    for line in text.splitlines():
        show(_GUTTER + line)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows as a table for people; as tab-separated lines, whole, where no terminal listens."""
    if not sys.stdout.isatty():
        for row in rows:
            show("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
        return
    # Only a terminal needs these, and they take a quarter of a second to import.
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    Console(highlight=False).print(table)


def show_diff(diff: str) -> None:
    """Print a diff in colours for people; byte for byte where no terminal listens."""
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(diff.encode("utf-8"))
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console(highlight=False, soft_wrap=True).print(Syntax(visible(diff), "diff", background_color="default"))


def say(text: str) -> None:
    """Tell the person something that is not data, on one line."""
    sys.stderr.write(_printable(_one_line(text), sys.stderr) + "\n")
    sys.stderr.flush()


def say_text(text: str) -> None:
    """Tell the person what somebody else said, each line behind a mark."""
    for line in text.splitlines():
        say(_GUTTER + line)


class Progress:
    """Says at a terminal what is being waited for, and for how long, on one line that is gone in the end.

    Elsewhere, and where it is to be `quiet`, nothing is written.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._shows = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._since_s = time.monotonic()

    def update(self, stage: str) -> None:
        """Show this stage, and the time since the beginning."""
        if self._shows:
            text = f"  {_one_line(stage)} ... {time.monotonic() - self._since_s:.0f} s"
            sys.stderr.write("\r\x1b[K" + _printable(text, sys.stderr))
            sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shows:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def span(seconds: float) -> str:
    """Return a time in its two largest units."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {int(seconds % 60)} s" if minutes else f"{int(seconds)} s"


def show_error(error: HomeostatError) -> int:
    """Print an error and its hint; return the exit code of its family."""
    text = _one_line(str(error))
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    sys.stderr.write((f"\x1b[1;31m{text}\x1b[0m" if colour else _printable(text, sys.stderr)) + "\n")
    if error.hint:
        say(f"hint: {error.hint}")
    return family_of(error).exit_code


def _one_line(text: str) -> str:
    """Return text as one line: what stands behind a line end in it would look like a line of ours."""
    return visible(text).replace("\n", "\\n")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _printable(text: str, stream: Any) -> str:
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
