"""``python -m homeostat.worker``: one proof from stdin to stdout, or the self-test of the sandboxes.

Its stdout is one JSON document (`homeostat.adapters.sandbox.wire`). It ends when the process that
started it ends, and takes everything sandboxed with it.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from homeostat.adapters.sandbox import kernel, tree, wire
from homeostat.adapters.sandbox.spec import Kind
from homeostat.core.errors import HomeostatError

_KILL_WITHIN_S = 10.0


def main(arguments: list[str]) -> int:
    """Answer one request; 0 when an answer was written, an error of ours included."""
    parser = argparse.ArgumentParser(prog="python -m homeostat.worker", description=__doc__)
    parser.add_argument("--parent", type=int, default=os.getppid(), help="process to end with")
    parser.add_argument("--self-test", nargs="+", type=Kind, metavar="KIND", help="try to break out of these sandboxes")
    parser.add_argument("--state-folder", type=Path, default=None, help="folder that must not show in a sandbox")
    parser.add_argument("--tell", type=int, metavar="FD", help="descriptor to write to which run begins, a line each")
    parser.add_argument("--key", type=Path, help="private key to sign the evidence with, read when the runs are over")
    options = parser.parse_args(arguments)
    if options.tell is not None:
        os.set_inheritable(options.tell, False)  # nothing that is started from here has it
    signal.signal(signal.SIGTERM, _on_stop)
    kernel.die_with_parent(signal.SIGTERM, options.parent)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    try:
        if options.self_test:
            answer = _self_tested(options.state_folder, options.self_test)
        else:
            answer = _proved(sys.stdin.buffer.read(), options.tell, options.key)
    except HomeostatError as error:
        answer = wire.encode_error(error)
    finally:
        # A launcher that was killed leaves its tree to us.
        tree.kill_descendants(os.getpid(), timeout_s=_KILL_WITHIN_S)
    sys.stdout.buffer.write(answer)
    return 0


# Each imports what it alone needs: a worker answers one question, and somebody waits for it.
def _self_tested(state_folder: Path | None, kinds: Sequence[Kind]) -> bytes:
    from homeostat.adapters.sandbox.selftest import examine_isolation

    return wire.encode_isolation(examine_isolation(state_folder=state_folder, kinds=kinds))


def _proved(request: bytes, tell: int | None, key: Path | None) -> bytes:
    from homeostat.worker.proving import prove

    def begins(stage: str) -> None:
        if tell is not None:
            with suppress(OSError):  # whoever wanted to know is gone, and we soon will be
                os.write(tell, f"{stage}\n".encode("ascii"))

    job, kinds = wire.decode_request(request)
    began_at = datetime.now(UTC)
    runs = prove(job, kinds, tell=begins)
    if key is not None and job.subject is not None and runs.candidate is not None:
        # INVARIANT: nothing that the change has started is alive when the key comes into this process.
        tree.kill_descendants(os.getpid(), timeout_s=_KILL_WITHIN_S)
        from homeostat.worker.attesting import attest

        runs = replace(runs, evidence=attest(job, runs, key=key, began_at=began_at))
    return wire.encode_runs(runs)


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
