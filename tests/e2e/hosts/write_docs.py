"""Write the table of the hosts into the docs anew: `python -m e2e.hosts.write_docs` from `tests/`."""

from pathlib import Path

from e2e.hosts.cells import CELLS
from e2e.hosts.table import table

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "reference" / "hosts.md"
BEGIN, END = "<!-- cells -->\n", "<!-- end -->\n"


def written() -> str:
    """Return the table that stands in the docs."""
    return DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    DOCUMENT.write_text(before + BEGIN + table(CELLS) + END + rest.partition(END)[2], encoding="utf-8")
