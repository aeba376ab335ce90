"""A figure that was measured, beside its aim and what it is compared with; and the page that shows them all."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "BENCHMARKS.md"

_HEAD = """# Benchmarks

Written by `make bench`; each peer or limit was measured in the same run, on the same machine. Absolute times drift
from machine to machine, the ratios hold. An aim that is not met says so; what was found about it stands below.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the page."""

    what: str
    measured: str
    beside: str = ""
    """The peer or the limit, as measured in this run."""

    aim: str = ""
    met: bool | None = None
    """None where there is no aim."""


def number(value: float, unit: str = "") -> str:
    """Write a value with three digits that count, thousands apart."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}{' ' + unit if unit else ''}"


def render(page: str, name: str, figures: Sequence[Figure], found: str) -> str:
    """Return the page with this section measured anew, and the others as they stand in `page`.

    A section is one table, and under it what was found where an aim is not met.
    """
    texts = {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in page.split("\n## ")[1:]}
    text = f"{_machine()}\n\n| what | measured | beside | aim | met |\n| --- | --- | --- | --- | --- |\n"
    for figure in figures:
        met = {True: "yes", False: "**no**", None: ""}[figure.met]
        text += f"| {figure.what} | {figure.measured} | {figure.beside} | {figure.aim} | {met} |\n"
    texts[name] = f"{text}\n{found.strip()}".strip()
    return _HEAD + "".join(f"\n## {name}\n\n{texts[name]}\n" for name in sorted(texts))


def _machine() -> str:
    cores = len(os.sched_getaffinity(0))
    kernel = platform.release().partition("-")[0]
    return (
        f"Measured on {date.today().isoformat()}: {cores} cores, {platform.machine()}, Linux {kernel}, "  # noqa: DTZ011
        f"Python {platform.python_version()}; load {os.getloadavg()[0]:.0f} at the end, that of the benchmark included."
    )
