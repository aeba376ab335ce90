"""Run one seed and print its trace, or many seeds and print those that fail."""

import argparse
import logging
import sys
import time

from homeostat.testing.simulation.run import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m homeostat.testing.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the seed, or the first of many")
    parser.add_argument("--seeds", type=int, default=0, help="run so many seeds and print only what is wrong")
    parser.add_argument("--hours", type=float, default=0.25, help="simulated hours before everything is left alone")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # the trace says it all
    if not options.seeds:
        outcome = simulate(options.seed, hours=options.hours)
        sys.stdout.write(f"{outcome.report()}\n{dict(outcome.states)} digest {outcome.digest}\n")
        return 1 if outcome.wrong else 0
    failed = 0
    began_s = time.monotonic()
    for seed in range(options.seed, options.seed + options.seeds):
        outcome = simulate(seed, hours=options.hours)
        if outcome.wrong:
            failed += 1
            sys.stdout.write(f"seed {seed}: {'; '.join(outcome.wrong[:3])}\n")
            sys.stdout.flush()
    took_s = time.monotonic() - began_s
    sys.stdout.write(f"{options.seeds} seeds, {failed} failed, {took_s:.0f} s\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
