"""What proving a change found: policy findings, test outcomes, isolation, and the verdict."""

from dataclasses import dataclass
from enum import StrEnum

from homeostat.model.risk import Risk


class ProofVerdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    """The question was not answered (nothing ran, or the original ran instead). Never a pass."""


STOPPED_FROM_OUTSIDE = "it was stopped from outside"
"""The `TestRun.problem` of a run that was ended, and by none of its limits: by the kernel short of memory, say."""


class PolicySeverity(StrEnum):
    BLOCK = "block"
    REVIEW = "review"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFinding:
    """One rule's objection to one place of a patch."""

    rule: str
    severity: PolicySeverity
    path: str
    line: int | None
    """Line in the new file, where there is one."""

    message: str
    remedy: str
    confidence: float = 1.0
    """How sure the rule is that there is what it says: 1 for what is written there, less for a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """One run of the host's test command in a sandbox."""

    __test__ = False

    exit_code: int | None
    """None when the run was ended by a limit."""

    timed_out: bool
    duration_ms: int
    outcomes: dict[str, str]
    """Test id → ``passed|failed|error|skipped``; empty when the runner reports none."""

    output_tail: str
    """The last 8,000 characters of what it printed, cleaned."""

    ran_from_candidate: bool | None = None
    """Whether the changed modules were loaded from the checkout under test; None: none was loaded."""

    problem: str = ""
    """Why what it reported cannot be believed (no results, results that contradict the exit code)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofSubject:
    """What a proof is of: the change as it is consented to, and the commits that stand for it."""

    diff_digest: str
    change_digest: str
    policy_digest: str
    base: str
    candidate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofReport:
    """Everything a reviewer sees of a proof."""

    verdict: ProofVerdict
    reasons: tuple[str, ...]
    policy: tuple[PolicyFinding, ...]
    sandbox: str
    """Which isolation was used, e.g. ``bubblewrap``; empty when nothing was run."""

    base: TestRun | None = None
    candidate: TestRun | None = None
    fixed_tests: tuple[str, ...] = ()
    broken_tests: tuple[str, ...] = ()
    added_tests: tuple[str, ...] = ()
    removed_tests: tuple[str, ...] = ()
    duration_ms: int = 0
    risk: Risk | None = None
    """None in reports that were made before risks were."""

    deaths: tuple[str, ...] = ()
    """How attempts before this one ended, from which nothing follows: a worker died, or was stopped from outside."""

    evidence: str = ""
    """The worker's signed envelope, as it was when the hub checked it; empty where nothing was run."""

    evidence_key: str = ""
    """The key that signed it, as a verifier key: the one that the hub held for its workers' then."""
