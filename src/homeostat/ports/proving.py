"""Running a host's tests on a change, where the change can do no harm."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from homeostat.core.ids import CommitId
from homeostat.model.proof import ProofSubject, TestRun


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofJob:
    """What to run. Both commits are checked out apart; neither is the user's checkout."""

    repository: str
    """Path of the host's repository: where the candidate will seem to stand when mounts are possible."""

    base: CommitId
    candidate: CommitId
    """The same as `base`: what is asked is how the tests are without any change."""

    test_command: tuple[str, ...]
    python: str
    """The host's own interpreter, usually inside its virtual environment."""

    changed_modules: tuple[str, ...]
    """Changed Python files, relative to the repository."""

    timeout_s: float
    memory_mb: int
    max_processes: int

    subject: ProofSubject | None = None
    """What the evidence is to be of; None: nobody wants any."""

    whose: str = ""
    """The proposal that is proved; by it `Prover.stage` is asked how far that is."""


class ProofStage(StrEnum):
    """Which run of a proof is under way."""

    BASE = "base"
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRuns:
    """Both runs, and the isolation they ran in. `refused` says why nothing was run."""

    sandbox: str
    base: TestRun | None
    candidate: TestRun | None
    refused: str = ""
    evidence: str = ""
    """The envelope in which the worker attests both runs (`homeostat.audit.evidence`); empty: it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationCheck:
    """One escape that the self-test tried in one kind of sandbox."""

    name: str
    held: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """One kind of sandbox on this machine: usable only when every required check held."""

    name: str
    usable: bool
    checks: tuple[IsolationCheck, ...]
    remedy: str = ""


class Prover(Protocol):
    def isolation(self) -> Sequence[Isolation]:
        """Return what the self-test found of every kind, the kind that will be used first."""
        ...

    def holds(self) -> bool:
        """Whether some kind was seen to hold, so that something can be proved; tests no more kinds than that takes."""
        ...

    def key(self) -> str:
        """Return the key that signs the evidence of this prover's workers, as a verifier key; empty: they have none."""
        ...

    def prove(self, job: ProofJob) -> ProofRuns:
        """Run the tests on base and candidate. `Unavailable` when the worker died or hung.

        `Unavailable` (``hub-stopping``) after `close`: this says nothing about the change.
        """
        ...

    def stage(self, whose: str) -> ProofStage | None:
        """Return which run of somebody's proof is under way; None where none is, or it is not known yet."""
        ...

    def close(self) -> None:
        """End what runs, at once; whoever waits for it, or asks later, is told ``hub-stopping``."""
        ...
