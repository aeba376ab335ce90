"""A figure that was measured, beside its aim and what it is compared with; and the page that shows them all."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

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
    met: bool | Literal["not shown"] | None = None
    """None where there is no aim. Not shown: what was seen is within it, and too little to say that it is met."""


def number(value: float, unit: str = "") -> str:
    """Write a value with three digits that count, thousands apart."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}{' ' + unit if unit else ''}"


def is_kept(rate: float, *, at_most: float, aim: float) -> bool | Literal["not shown"]:
    """Hold a rate that was seen against the most it may be: only a bound of the true one shows that it is kept."""
    if rate > aim:
        return False
    return True if at_most <= aim else "not shown"


def said(met: bool | Literal["not shown"] | None) -> str:
    """Return what the page says of an aim."""
    return met if isinstance(met, str) else {True: "yes", False: "**no**", None: ""}[met]


def render(page: str, name: str, figures: Sequence[Figure], found: str, *, load: float) -> str:
    """Return the page with this section measured anew, and the others as they stand in `page`.

    A section is one table, and under it what was found where an aim is not met. `load` is that at the beginning.
    """
    texts = {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in page.split("\n## ")[1:]}
    text = f"{_machine(load)}\n\n| what | measured | beside | aim | met |\n| --- | --- | --- | --- | --- |\n"
    for figure in figures:
        text += f"| {figure.what} | {figure.measured} | {figure.beside} | {figure.aim} | {said(figure.met)} |\n"
    texts[name] = f"{text}\n{found.strip()}".strip()
    return _HEAD + "".join(f"\n## {name}\n\n{texts[name]}\n" for name in sorted(texts))


def _machine(load: float) -> str:
    cores = len(os.sched_getaffinity(0))
    kernel = platform.release().partition("-")[0]
    return (
        f"Measured on {date.today().isoformat()}: {cores} cores, {platform.machine()}, Linux {kernel}, "  # noqa: DTZ011
        f"Python {platform.python_version()}; load {load:.0f} at the beginning and {os.getloadavg()[0]:.0f} at "
        "the end, that of the benchmark included."
    )
