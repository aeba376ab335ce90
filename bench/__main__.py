"""Run every benchmark, or those named: ``python -m bench [--write] [swap ledger ...]``.

Each ``bench_NAME.py`` has ``main()``, which measures, prints a table and returns figures by name;
``figures(results)``, which holds them against their aims; and ``FOUND``, which says what was found where an
aim is not met. ``--write`` renews the sections of ``docs/BENCHMARKS.md`` that were run. Real log lines are looked
for in the folder ``HOMEOSTAT_TEST_DATA``; what needs them is said not to be measured without.
"""

import importlib
import os
import sys
from pathlib import Path

from bench.figures import PAGE, Figure, render


def main() -> None:
    known = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    write = "--write" in sys.argv
    wanted = [name for name in sys.argv[1:] if name != "--write"] or known
    unknown = set(wanted) - set(known)
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    sections: dict[str, list[Figure]] = {}
    for name in wanted:
        print(f"\n== {name}", flush=True)
        module = importlib.import_module(f"bench.bench_{name}")
        load = os.getloadavg()[0]
        sections[name] = module.figures(module.main())
        if write:  # each at once: a later one that fails takes nothing away
            page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
            PAGE.write_text(render(page, name, sections[name], module.FOUND, load=load), encoding="utf-8")
    print()
    for name, figures in sections.items():
        for figure in figures:
            met = figure.met if isinstance(figure.met, str) else {True: "met", False: "NOT MET", None: ""}[figure.met]
            print(f"{met:<9} {name}: {figure.what}: {figure.measured}")
            print(f"          beside: {figure.beside or '-'}   aim: {figure.aim or '-'}")
    if write:
        print(f"\nwrote {PAGE}")


if __name__ == "__main__":
    main()
