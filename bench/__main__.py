"""Run every benchmark, or those named on the command line: ``python -m bench [swap ledger ...]``."""

import importlib
import sys
from pathlib import Path


def main() -> None:
    known = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    wanted = sys.argv[1:] or known
    unknown = set(wanted) - set(known)
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name in wanted:
        print(f"\n== {name}")
        importlib.import_module(f"bench.bench_{name}").main()


if __name__ == "__main__":
    main()
