"""A prover that answers from a script, and can be told to be refused, to die, or to hold nothing."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from homeostat.adapters.keys import Ed25519Signer
from homeostat.audit.evidence import sign_envelope, statement, worker_key
from homeostat.core.errors import HomeostatError, Unavailable
from homeostat.core.ids import CommitId
from homeostat.model.proof import TestRun
from homeostat.ports.proving import Isolation, IsolationCheck, ProofJob, ProofRuns, ProofStage

Answer: TypeAlias = ProofRuns | HomeostatError | Callable[[ProofJob], ProofRuns]

HOLDS = Isolation(
    name="bubblewrap", usable=True, checks=(IsolationCheck(name="network_loopback", held=True, detail="refused"),)
)
LEAKS = Isolation(
    name="landlock",
    usable=False,
    checks=(IsolationCheck(name="network_loopback", held=False, detail="connected"),),
    remedy="install bubblewrap",
)


def test_run(outcomes: Mapping[str, str], *, ran_from_candidate: bool | None = True) -> TestRun:
    """Return the run of a test runner that tells the truth: exit code 1 when a test is red."""
    red = any(outcome in ("failed", "error") for outcome in outcomes.values())
    return TestRun(
        exit_code=1 if red else 0,
        timed_out=False,
        duration_ms=10,
        outcomes=dict(outcomes),
        output_tail=f"{len(outcomes)} tests\n",
        ran_from_candidate=ran_from_candidate,
    )


test_run.__test__ = False  # type: ignore[attr-defined]

_ONE_PASSED = test_run({"tests/test_it.py::test_it": "passed"})


class FakeProver:
    """`homeostat.ports.proving.Prover` without a sandbox: it runs nothing and remembers what was asked.

    Scripted answers are given in order; when none is left, `otherwise` says what was seen of a job: by
    default both runs pass one test.
    """

    def __init__(
        self,
        *,
        isolation: Sequence[Isolation] = (HOLDS, LEAKS),
        answers: Sequence[Answer] = (),
        otherwise: Callable[[ProofJob], tuple[TestRun, TestRun]] | None = None,
    ) -> None:
        self._isolation = tuple(isolation)
        self._answers: deque[Answer] = deque(answers)
        self._otherwise = otherwise or (lambda job: (_ONE_PASSED, _ONE_PASSED))
        self.jobs: list[ProofJob] = []
        self.stages: dict[str, ProofStage] = {}
        """What `stage` answers. A job that `otherwise` or a script answers by a function runs in that function."""

        self.forge: Callable[[str], str] = lambda envelope: envelope
        """What becomes of the evidence on its way to whoever asked."""

        self.tree_of: Callable[[CommitId], str] = lambda commit: commit
        """What it says is the tree of a commit."""

        self._signer = Ed25519Signer.from_seed(b"fake prover".ljust(32, b"."))
        self._closed = False

    def script(self, *answers: Answer) -> None:
        """Add answers for the next proofs."""
        self._answers.extend(answers)

    def isolation(self) -> Sequence[Isolation]:
        return tuple(sorted(self._isolation, key=lambda isolation: not isolation.usable))

    def holds(self) -> bool:
        return any(isolation.usable for isolation in self._isolation)

    def stage(self, whose: str) -> ProofStage | None:
        return self.stages.get(whose)

    def close(self) -> None:
        self._closed = True

    def key(self) -> str:
        return str(worker_key(self._signer.public_key()))

    def prove(self, job: ProofJob) -> ProofRuns:
        runs = self._prove(job)
        if job.subject is None or runs.base is None or runs.candidate is None or runs.evidence:
            return runs
        said = statement(
            job.subject,
            trees=(self.tree_of(job.base), self.tree_of(job.candidate)),
            base=runs.base,
            candidate=runs.candidate,
            environment={"sandbox": runs.sandbox},
            timings={},
        )
        envelope = sign_envelope(said, public_key=self._signer.public_key(), sign=self._signer.sign)
        return replace(runs, evidence=self.forge(envelope))

    def _prove(self, job: ProofJob) -> ProofRuns:
        self.jobs.append(job)
        if self._closed:
            raise Unavailable("hub-stopping", "the hub is being stopped")
        usable = [isolation for isolation in self.isolation() if isolation.usable]
        if not usable:
            remedies = "; or ".join(isolation.remedy for isolation in self._isolation if isolation.remedy)
            return ProofRuns(sandbox="", base=None, candidate=None, refused=f"no sandbox holds: {remedies}")
        if not self._answers:
            base, candidate = self._otherwise(job)
            return ProofRuns(sandbox=usable[0].name, base=base, candidate=candidate)
        answer = self._answers.popleft()
        if isinstance(answer, HomeostatError):
            raise answer
        return answer(job) if callable(answer) else answer
