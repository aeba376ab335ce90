"""Judge a change by the host's tests: how base and candidate differ, and whether that says anything.

The verdict is a fold over reasons. Any reason to fail makes it FAILED; else any reason to doubt that
the question was answered makes it INCONCLUSIVE; only what is left is PASSED.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from homeostat.model.proof import PolicyFinding, PolicySeverity, ProofReport, ProofVerdict, TestRun

_NAMED_AT_MOST = 10
_RED = frozenset({"failed", "error"})
_NOT_LOADED_TEST = "unittest.loader._FailedTest."


class BothRuns(Protocol):
    """What a prover hands over (`homeostat.ports.proving.ProofRuns`, which lies in a layer above)."""

    @property
    def sandbox(self) -> str: ...
    @property
    def base(self) -> TestRun | None: ...
    @property
    def candidate(self) -> TestRun | None: ...
    @property
    def refused(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TestDifference:
    """How the outcomes of two runs differ, each list sorted. A test is in one list at most."""

    __test__ = False

    fixed: tuple[str, ...]
    """Red on base, passed on the candidate; or a file or class that did not load and now does."""

    broken: tuple[str, ...]
    """Passed or skipped on base, red on the candidate."""

    silenced: tuple[str, ...]
    """Passed or red on base, skipped on the candidate."""

    added: tuple[str, ...]
    added_red: tuple[str, ...]
    """Those of `added` that are red."""

    removed: tuple[str, ...]
    """On base and not skipped there, gone on the candidate."""


def compare_outcomes(base: Mapping[str, str], candidate: Mapping[str, str]) -> TestDifference:
    """Compare two runs test by test."""
    both = sorted(set(base) & set(candidate))
    gone = sorted(test for test in set(base) - set(candidate) if base[test] != "skipped")
    loads_now = [test for test in gone if base[test] in _RED and _has_children(test, candidate)]
    added = sorted(set(candidate) - set(base))
    return TestDifference(
        fixed=tuple(sorted(loads_now + [test for test in both if base[test] in _RED and candidate[test] == "passed"])),
        broken=tuple(test for test in both if base[test] not in _RED and candidate[test] in _RED),
        silenced=tuple(test for test in both if base[test] != "skipped" and candidate[test] == "skipped"),
        added=tuple(added),
        added_red=tuple(test for test in added if candidate[test] in _RED),
        removed=tuple(test for test in gone if test not in loads_now),
    )


def _has_children(test: str, outcomes: Mapping[str, str]) -> bool:
    """Tell whether an id that stood for a file or class that did not load is now answered by its tests."""
    if test.startswith(_NOT_LOADED_TEST):
        prefix = test.removeprefix(_NOT_LOADED_TEST) + "."
    elif test.startswith(("setUpClass (", "setUpModule (")):
        prefix = test.partition("(")[2].rstrip(")") + "."
    else:
        prefix = test + "::"
    return any(other.startswith(prefix) for other in outcomes)


def judge_proof(
    runs: BothRuns, *, changed_python: bool, policy: tuple[PolicyFinding, ...], duration_ms: int
) -> ProofReport:
    """Return the verdict of a proof, with every reason and every test whose outcome changed.

    `changed_python` says that the change leaves Python files that tests could load; then at least one
    must have been loaded from the candidate. A host whose tests are red on base and green on the
    candidate passes; one that stays red does not, since its exit code cannot tell better from worse.
    """
    base, candidate = runs.base, runs.candidate
    if runs.refused or base is None or candidate is None:
        return ProofReport(
            verdict=ProofVerdict.FAILED if _blocks(policy) else ProofVerdict.INCONCLUSIVE,
            reasons=(*_blocks(policy), runs.refused or "the tests were not run on both base and candidate"),
            policy=policy,
            sandbox=runs.sandbox,
            base=base,
            candidate=candidate,
            duration_ms=duration_ms,
        )
    difference = compare_outcomes(base.outcomes, candidate.outcomes)
    failures = (*_blocks(policy), *_failures(base, candidate, difference))
    doubts = tuple(_doubts(base, candidate, difference, changed_python=changed_python))
    if failures:
        verdict = ProofVerdict.FAILED
    elif doubts:
        verdict = ProofVerdict.INCONCLUSIVE
    else:
        verdict = ProofVerdict.PASSED
    return ProofReport(
        verdict=verdict,
        reasons=(*failures, *doubts) or tuple(_good_words(candidate, difference)),
        policy=policy,
        sandbox=runs.sandbox,
        base=base,
        candidate=candidate,
        fixed_tests=difference.fixed,
        broken_tests=difference.broken,
        added_tests=difference.added,
        removed_tests=difference.removed,
        duration_ms=duration_ms,
    )


def _blocks(policy: Iterable[PolicyFinding]) -> tuple[str, ...]:
    """Return the objections that no test can outweigh. The caller should not have run anything then."""
    return tuple(
        f"{finding.rule}: {finding.path}: {finding.message}"
        for finding in policy
        if finding.severity is PolicySeverity.BLOCK
    )


def _failures(base: TestRun, candidate: TestRun, difference: TestDifference) -> Iterable[str]:
    if difference.broken:
        yield f"the change breaks {_named(difference.broken)}"
    if difference.added_red:
        yield f"the change brings tests that fail: {_named(difference.added_red)}"
    if candidate.timed_out and not base.timed_out:
        yield f"the tests do not end within their time on the candidate; on base they took {base.duration_ms} ms"
    elif candidate.exit_code is None and base.exit_code is not None:
        yield f"the tests end by themselves on base but not on the candidate: {candidate.problem}"
    elif candidate.exit_code not in (0, None) and base.exit_code == 0 and not difference.broken:
        yield f"the test command succeeds on base and ends with {candidate.exit_code} on the candidate"


def _doubts(base: TestRun, candidate: TestRun, difference: TestDifference, *, changed_python: bool) -> Iterable[str]:
    if candidate.exit_code != 0 and base.exit_code != 0:
        yield _red_on_both(base, candidate, difference)
    elif candidate.exit_code == 0 and _RED & set(candidate.outcomes.values()):
        yield "the test command says that all is well although tests are red"
    for name, run in (("base", base), ("the candidate", candidate)):
        if run.problem and run.exit_code is not None:
            yield f"the results on {name} cannot be believed: {run.problem}"
    if difference.removed:
        yield f"tests that base has are gone: {_named(difference.removed)}"
    if difference.silenced:
        yield f"tests that ran on base are skipped: {_named(difference.silenced)}"
    if candidate.outcomes and "passed" not in candidate.outcomes.values():
        yield "no test passed on the candidate: nothing was shown"
    if candidate.ran_from_candidate is False:
        yield "a changed module was loaded from another place than the candidate: the original was tested"
    elif changed_python and candidate.ran_from_candidate is None:
        yield "no changed module was loaded by the tests: the change is untested; add a test to the diff"
    elif not candidate.outcomes and not changed_python:
        yield "no test was seen, and nothing else shows that the change was tested"


def _red_on_both(base: TestRun, candidate: TestRun, difference: TestDifference) -> str:
    still = tuple(sorted(test for test, outcome in candidate.outcomes.items() if outcome in _RED))
    ends = f"base: {_ending(base)}, candidate: {_ending(candidate)}"
    words = f"the tests fail on base and still fail on the candidate ({ends})"
    if still:
        words += f": {_named(still)}"
    if difference.fixed:
        words += f"; the change does fix {_named(difference.fixed)}"
    return words


def _ending(run: TestRun) -> str:
    if run.timed_out:
        return "out of time"
    return run.problem if run.exit_code is None else f"exit code {run.exit_code}"


def _good_words(candidate: TestRun, difference: TestDifference) -> Iterable[str]:
    passed = sum(1 for outcome in candidate.outcomes.values() if outcome == "passed")
    if candidate.outcomes:
        yield f"{passed} tests pass on the candidate, none that passed on base is broken"
    else:
        yield "the test command succeeds on base and candidate; it reports no single tests"
    if difference.fixed:
        yield f"the change fixes {_named(difference.fixed)}"


def _named(tests: tuple[str, ...]) -> str:
    more = len(tests) - _NAMED_AT_MOST
    return ", ".join(tests[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
