"""``python -m homeostat.worker``: one proof from stdin to stdout, or the self-test of the sandboxes.

Its stdout is one JSON document (`homeostat.adapters.sandbox.wire`). It ends when the process that
started it ends, and takes everything sandboxed with it.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from homeostat.adapters.sandbox import kernel, tree, wire
from homeostat.adapters.sandbox.selftest import examine_isolation
from homeostat.core.errors import HomeostatError
from homeostat.worker.proving import prove

_KILL_WITHIN_S = 10.0


def main(arguments: list[str]) -> int:
    """Answer one request; 0 when an answer was written, an error of ours included."""
    parser = argparse.ArgumentParser(prog="python -m homeostat.worker", description=__doc__)
    parser.add_argument("--parent", type=int, default=os.getppid(), help="process to end with")
    parser.add_argument("--self-test", action="store_true", help="try to break out of each kind of sandbox")
    parser.add_argument("--state-folder", type=Path, default=None, help="folder that must not show in a sandbox")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _on_stop)
    kernel.die_with_parent(signal.SIGTERM, options.parent)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    try:
        if options.self_test:
            answer = wire.encode_isolation(examine_isolation(state_folder=options.state_folder))
        else:
            job, kinds = wire.decode_request(sys.stdin.buffer.read())
            answer = wire.encode_runs(prove(job, kinds))
    except HomeostatError as error:
        answer = wire.encode_error(error)
    finally:
        # A launcher that was killed leaves its tree to us.
        tree.kill_descendants(os.getpid(), timeout_s=_KILL_WITHIN_S)
    sys.stdout.buffer.write(answer)
    return 0


def _on_stop(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except SystemExit as stop:
        # Everything is put away. Threads of the self-test may wait for a lock that the exception of the
        # signal left taken, and an orderly end would wait for them for ever.
        sys.stderr.flush()
        os._exit(stop.code if isinstance(stop.code, int) else 1)
    sys.exit(code)
