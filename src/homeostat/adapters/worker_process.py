"""Proves changes in a worker: a process of its own that has no key, no token and no database."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import homeostat_agent

import homeostat
from homeostat.adapters.sandbox import wire
from homeostat.adapters.sandbox.folder import sweep_stale_folders
from homeostat.adapters.sandbox.spec import Kind
from homeostat.core.errors import Unavailable
from homeostat.ports.proving import Isolation, ProofJob, ProofRuns

_SELF_TEST_S = 60.0
_CHECKOUTS_S = 180.0
"""For two checkouts, the end of two runs and the cleaning up, beyond the runs' own time."""

_STOP_WITHIN_S = 40.0
_HANDED_ON = ("HOME", "TMPDIR", "PATH", "LANG")


class WorkerProver:
    """`homeostat.ports.proving.Prover` by a worker process for each question.

    The self-test runs once, when it is first needed, and holds until the hub ends. Safe to call from
    several threads; each call must stay in its thread, since the worker dies with it.
    """

    def __init__(self, *, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._lock = threading.Lock()
        self._isolation: tuple[Isolation, ...] | None = None
        self._workers_lock = threading.Lock()
        self._workers: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def isolation(self) -> Sequence[Isolation]:
        """Return what the self-test found, usable kinds first. `Unavailable` when it died or hung."""
        with self._lock:
            if self._isolation is None:
                words = ["--self-test", "--state-folder", str(self._state_dir)]
                self._isolation = wire.decode_isolation(self._ask(words, b"", timeout_s=_SELF_TEST_S))
            return self._isolation

    def prove(self, job: ProofJob) -> ProofRuns:
        """Run the tests on base and candidate; refused when no kind of sandbox holds here."""
        found = self.isolation()
        kinds = [Kind(isolation.name) for isolation in found if isolation.usable]
        if not kinds:
            remedies = "; or ".join(isolation.remedy for isolation in found if isolation.remedy)
            reason = f"no sandbox on this machine holds, so nothing may be run: {remedies}"
            return ProofRuns(sandbox="", base=None, candidate=None, refused=reason)
        timeout_s = 2 * job.timeout_s + _CHECKOUTS_S
        return wire.decode_runs(self._ask([], wire.encode_request(job, kinds), timeout_s=timeout_s))

    def close(self) -> None:
        """Ask every worker to end. It takes what is sandboxed with it, and its asker is told so."""
        with self._workers_lock:
            self._closed = True
            for process in self._workers:
                process.terminate()

    def _ask(self, words: Sequence[str], question: bytes, *, timeout_s: float) -> bytes:
        """Start a worker, hand it the question and return its answer. `Unavailable` when there is none."""
        process = self._start(words)
        try:
            answer, talk = process.communicate(question, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise Unavailable("worker-timeout", f"the worker did not end within {timeout_s:g} s") from error
        finally:
            with self._workers_lock:
                self._workers.discard(process)
                closed = self._closed
            _end(process)
            if process.returncode != 0:
                sweep_stale_folders()  # one that was killed put nothing away
        if closed and process.returncode != 0:
            raise _stopping()
        return _answer_of(process, answer, talk)

    def _start(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        with self._workers_lock:
            if self._closed:
                raise _stopping()
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "homeostat.worker", "--parent", str(os.getpid()), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                cwd="/",
                env=_environment(),
            )
            self._workers.add(process)
            return process


def _stopping() -> Unavailable:
    return Unavailable("hub-stopping", "the hub is being stopped, and its proofs with it")


def _answer_of(process: subprocess.Popen[bytes], answer: bytes, talk: bytes) -> bytes:
    if process.returncode != 0 or not answer:
        last = talk.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
        raise Unavailable("worker-died", f"the worker ended with {process.returncode}: {last}")
    return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a worker that still runs: it is asked first, because it can end what it started."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_STOP_WITHIN_S)
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _environment() -> dict[str, str]:
    """Return what a worker needs to find our code and nothing that opens a door."""
    sources = (str(Path(module.__file__ or "").parents[1]) for module in (homeostat, homeostat_agent))
    kept = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    return {**kept, "PYTHONPATH": ":".join(dict.fromkeys(sources)), "PYTHONDONTWRITEBYTECODE": "1"}
