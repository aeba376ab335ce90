"""What holds for every pair of runs."""

from hypothesis import given
from hypothesis import strategies as st

from homeostat.model.proof import ProofVerdict, TestRun
from homeostat.ports.proving import ProofRuns
from homeostat.validation.compare import compare_outcomes, judge_proof

OUTCOMES = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d.py", "d.py::e"]), st.sampled_from(["passed", "failed", "error", "skipped"])
)
RUNS = st.builds(
    TestRun,
    exit_code=st.sampled_from([None, 0, 1, 5]),
    timed_out=st.booleans(),
    duration_ms=st.just(1),
    outcomes=OUTCOMES,
    output_tail=st.just(""),
    ran_from_candidate=st.sampled_from([None, True, False]),
    problem=st.sampled_from(["", "cut short"]),
)


@given(OUTCOMES, OUTCOMES)
def test_a_test_stands_in_one_list_at_most(base, candidate):
    found = compare_outcomes(base, candidate)
    listed = [*found.fixed, *found.broken, *found.silenced, *found.added, *found.removed]
    assert len(listed) == len(set(listed))
    assert set(found.added_red) <= set(found.added)


@given(RUNS, RUNS, st.booleans())
def test_a_pass_is_green_believed_loaded_and_lost_nothing(base, candidate, changed_python):
    runs = ProofRuns(sandbox="s", base=base, candidate=candidate)
    report = judge_proof(runs, changed_python=changed_python, policy=(), duration_ms=1)
    assert report.reasons
    if report.verdict is ProofVerdict.PASSED:
        assert candidate.exit_code == 0
        assert not candidate.problem
        assert candidate.ran_from_candidate is not False
        assert candidate.ran_from_candidate or not changed_python
        assert not {"failed", "error"} & set(candidate.outcomes.values())
        assert all(candidate.outcomes.get(test) == "passed" for test, was in base.outcomes.items() if was == "passed")


@given(RUNS, st.booleans())
def test_equal_runs_never_fail_a_change(run, changed_python):
    runs = ProofRuns(sandbox="s", base=run, candidate=run)
    report = judge_proof(runs, changed_python=changed_python, policy=(), duration_ms=1)
    assert report.verdict is not ProofVerdict.FAILED
