"""Proves changes in a worker: a process of its own that has no token and no database.

The one key that it reads is its own, to sign what it saw, when all that it started has ended.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import homeostat_agent

import homeostat
from homeostat.adapters.keys import WORKER_KEY
from homeostat.adapters.sandbox import answers, wire
from homeostat.adapters.sandbox.folder import sweep_stale_folders
from homeostat.adapters.sandbox.spec import Kind
from homeostat.audit.evidence import worker_key
from homeostat.core.errors import Unavailable
from homeostat.ports.proving import Isolation, ProofJob, ProofRuns, ProofStage

_SELF_TEST_S = 60.0
_CHECKOUTS_S = 180.0
"""For two checkouts, the end of two runs and the cleaning up, beyond the runs' own time."""

_STOP_WITHIN_S = 40.0
_HANDED_ON = ("HOME", "TMPDIR", "PATH", "LANG")


class WorkerProver:
    """`homeostat.ports.proving.Prover` by a worker process for each question.

    Each kind of sandbox is tested once, when it is first needed, and what was found holds until the hub
    ends; but where none was seen to hold, all are tested anew when one is needed. Safe to call from several
    threads; each call must stay in its thread, since the worker dies with it.
    """

    def __init__(self, *, state_dir: Path, public_key: str = "") -> None:
        """`public_key` is that of the workers' key in `state_dir`, base64; without one they sign nothing."""
        self._state_dir = state_dir
        self._key = str(worker_key(public_key)) if public_key else ""
        self._lock = threading.Lock()
        self._found: dict[Kind, Isolation] = {}
        self._workers_lock = threading.Lock()
        self._workers: set[subprocess.Popen[bytes]] = set()
        self._closed = False
        self._stages: dict[str, ProofStage] = {}

    def isolation(self) -> Sequence[Isolation]:
        """Return what the self-test found, usable kinds first. `Unavailable` when it died or hung."""
        found = self._examined(tuple(Kind))
        return tuple(sorted(found, key=lambda isolation: not isolation.usable))

    def holds(self) -> bool:
        """Test the kinds in order of preference until one holds. `Unavailable` as with `isolation`."""
        return bool(_usable(self._tested(at_least=1)))

    def key(self) -> str:
        return self._key

    def prove(self, job: ProofJob) -> ProofRuns:
        """Run the tests on base and candidate; refused when no kind of sandbox holds here.

        The kind that is preferred is used; others are tested, and tried, only when it cannot hold this job.
        """
        tested = self._tested(at_least=1)
        first = _usable(tested)
        if not first:
            return ProofRuns(sandbox="", base=None, candidate=None, refused=_why_none(tested))
        runs = self._prove(job, first)
        if not runs.refused or runs.sandbox:
            return runs
        others = [kind for kind in _usable(self._tested(at_least=len(Kind))) if kind not in first]
        if not others:
            return runs
        again = self._prove(job, others)
        if again.refused and not again.sandbox:
            return replace(again, refused="; ".join(dict.fromkeys((runs.refused, again.refused))))
        return again

    def _prove(self, job: ProofJob, kinds: Sequence[Kind]) -> ProofRuns:
        timeout_s = 2 * job.timeout_s + _CHECKOUTS_S
        told, tell = os.pipe()
        threading.Thread(target=self._listen, args=(told, job.whose), name="proof-stage", daemon=True).start()
        try:
            words = ["--tell", str(tell)]
            if self._key:
                words += ["--key", str(self._state_dir.absolute() / "keys" / WORKER_KEY)]
            return answers.decode_runs(
                self._ask(words, wire.encode_request(job, kinds), timeout_s=timeout_s, hand_on=[tell])
            )
        finally:
            os.close(tell)

    def stage(self, whose: str) -> ProofStage | None:
        return self._stages.get(whose)

    def _listen(self, told: int, whose: str) -> None:
        """Note which run a worker says that it begins, until it has ended."""
        try:
            with os.fdopen(told, "r", encoding="ascii", errors="replace") as lines:
                for line in lines:
                    with suppress(ValueError):
                        self._stages[whose] = ProofStage(line.strip())
        finally:
            self._stages.pop(whose, None)

    def _tested(self, *, at_least: int) -> Sequence[Isolation]:
        """Return what was found of kinds, the preferred first: all tested before, and until this many hold."""
        with self._lock:
            if not _usable(self._found.values()):
                self._found.clear()  # the machine was busy, perhaps, or somebody has mended what it lacked
        tested: list[Isolation] = []
        for kind in Kind:
            if kind in self._found or len(_usable(tested)) < at_least:
                tested += self._examined((kind,))
        return tested

    def _examined(self, kinds: Sequence[Kind]) -> Sequence[Isolation]:
        """Return what the self-test found of these kinds; those that were not tested yet are, in one worker."""
        with self._lock:
            missing = [kind for kind in kinds if kind not in self._found]
            if missing:
                words = ["--state-folder", str(self._state_dir), "--self-test", *missing]
                answer = answers.decode_isolation(self._ask(words, b"", timeout_s=_SELF_TEST_S))
                self._found |= {Kind(isolation.name): isolation for isolation in answer}
            return [self._found[kind] for kind in kinds]

    def close(self) -> None:
        """Ask every worker to end. It takes what is sandboxed with it, and its asker is told so."""
        with self._workers_lock:
            self._closed = True
            for process in self._workers:
                process.terminate()

    def _ask(self, words: Sequence[str], question: bytes, *, timeout_s: float, hand_on: Sequence[int] = ()) -> bytes:
        """Start a worker, hand it the question and return its answer. `Unavailable` when there is none."""
        process = self._start(words, hand_on)
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

    def _start(self, words: Sequence[str], hand_on: Sequence[int]) -> subprocess.Popen[bytes]:
        with self._workers_lock:
            if self._closed:
                raise _stopping()
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "homeostat.worker", "--parent", str(os.getpid()), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=hand_on,
                start_new_session=True,
                cwd="/",
                env=_environment(),
            )
            self._workers.add(process)
            return process


def _usable(tested: Iterable[Isolation]) -> list[Kind]:
    return [Kind(isolation.name) for isolation in tested if isolation.usable]


def _why_none(tested: Iterable[Isolation]) -> str:
    remedies = "; or ".join(isolation.remedy for isolation in tested if isolation.remedy)
    return f"no sandbox on this machine holds, so nothing may be run: {remedies}"


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
