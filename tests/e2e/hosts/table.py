"""What the docs say of the cells: one line each, made of what `loop.play` checks."""

from dataclasses import replace

from e2e.hosts.cells import Cell

HEADER = (
    "| host | started as | Python | processes attached | of them at work | changed live, and back | `init` finds |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)


def row(cell: Cell, pythons: list[str]) -> str:
    """Return the line of one cell, which was played on these versions of Python."""
    live = "yes" if cell.serving == 1 else f"in all {cell.serving}"
    if cell.restarts:
        live = "in new processes, which the program starts by itself"
    start = cell.start.replace("{port}", "PORT")
    return (
        f"| {cell.program} | `{start}` | {', '.join(pythons)} | {cell.processes} | {cell.serving} | {live} "
        f"| `{cell.init_start}`; `{cell.init_test}` |\n"
    )


def table(cells: tuple[Cell, ...]) -> str:
    """Return the whole table, as it stands in docs/reference/hosts.md."""
    pythons: dict[str, list[str]] = {}
    first: dict[str, Cell] = {}
    for cell in cells:
        name = cell.name.partition("-py3")[0]
        pythons.setdefault(name, []).append(cell.python)
        known = first.setdefault(name, cell)
        assert known == replace(cell, name=known.name, python=known.python, always=known.always), "one host, two ways"
    versions = {name: sorted(found, key=lambda text: int(text[2:])) for name, found in pythons.items()}
    return HEADER + "".join(row(cell, versions[name]) for name, cell in first.items())
