"""The verdict on a change: what passes, and the many ways in which nothing was shown."""

from dataclasses import replace

import pytest

from homeostat.model.proof import PolicyFinding, PolicySeverity, ProofVerdict, TestRun
from homeostat.ports.proving import ProofRuns
from homeostat.validation.compare import compare_outcomes, judge_proof

GREEN = {"t::a": "passed", "t::b": "passed"}
FINDING = PolicyFinding(
    rule="secrets", severity=PolicySeverity.BLOCK, path="a.py", line=1, message="a key", remedy="take it out"
)


def run(outcomes=None, *, exit_code=None, loaded: bool | None = True, **changes) -> TestRun:
    outcomes = GREEN if outcomes is None else outcomes
    red = any(outcome in ("failed", "error") for outcome in outcomes.values())
    made = TestRun(
        exit_code=int(red) if exit_code is None else exit_code,
        timed_out=False,
        duration_ms=5,
        outcomes=dict(outcomes),
        output_tail="",
        ran_from_candidate=loaded,
    )
    return replace(made, **changes)


def judge(base, candidate, *, changed_python=True, policy=(), refused=""):
    runs = ProofRuns(sandbox="bubblewrap", base=base, candidate=candidate, refused=refused)
    return judge_proof(runs, changed_python=changed_python, policy=policy, duration_ms=7)


def out_of_time(outcomes=None):
    return replace(run(outcomes or {}, loaded=None), exit_code=None, timed_out=True, problem="it was ended after 5 s")


def ended_by_a_limit():
    return replace(run({}, loaded=None), exit_code=None, problem="it was ended for using more than 9 MB")


def test_green_on_both_with_the_change_loaded_passes():
    report = judge(run(), run())
    assert report.verdict is ProofVerdict.PASSED
    assert report.duration_ms == 7
    assert report.sandbox == "bubblewrap"


def test_red_on_base_and_green_on_the_candidate_passes_and_names_what_was_fixed():
    report = judge(run({"t::a": "failed", "t::b": "passed"}), run())
    assert report.verdict is ProofVerdict.PASSED
    assert report.fixed_tests == ("t::a",)
    assert any("t::a" in reason for reason in report.reasons)


def test_a_new_test_that_passes_is_named_as_added():
    report = judge(run(), run({**GREEN, "t::new": "passed"}))
    assert (report.verdict, report.added_tests) == (ProofVerdict.PASSED, ("t::new",))


def test_a_test_file_that_did_not_load_and_now_does_counts_as_fixed_not_as_removed():
    report = judge(run({"t.py": "error"}, exit_code=2), run({"t.py::a": "passed"}))
    assert report.verdict is ProofVerdict.PASSED
    assert (report.fixed_tests, report.removed_tests) == (("t.py",), ())


@pytest.mark.parametrize(
    ("before", "after"),
    [("unittest.loader._FailedTest.t.pay", "t.pay.T.a"), ("setUpClass (t.pay.T)", "t.pay.T.a")],
)
def test_a_unittest_module_or_class_that_did_not_load_and_now_does_counts_as_fixed(before, after):
    assert compare_outcomes({before: "error"}, {after: "passed"}).fixed == (before,)


def test_a_command_without_single_tests_passes_by_exit_codes_when_the_change_was_loaded():
    assert judge(run({}), run({})).verdict is ProofVerdict.PASSED


def test_a_base_out_of_time_and_a_green_candidate_passes():
    assert judge(out_of_time(), run()).verdict is ProofVerdict.PASSED


def test_a_change_without_python_passes_when_the_tests_do():
    assert judge(run(loaded=None), run(loaded=None), changed_python=False).verdict is ProofVerdict.PASSED


def test_a_broken_test_fails_and_is_named():
    report = judge(run(), run({"t::a": "failed", "t::b": "passed"}))
    assert (report.verdict, report.broken_tests) == (ProofVerdict.FAILED, ("t::a",))


def test_a_broken_test_fails_although_another_was_fixed():
    base = run({"t::a": "failed", "t::b": "passed"})
    report = judge(base, run({"t::a": "passed", "t::b": "error"}))
    assert report.verdict is ProofVerdict.FAILED
    assert (report.fixed_tests, report.broken_tests) == (("t::a",), ("t::b",))


def test_a_skipped_test_that_becomes_red_is_broken():
    assert judge(run({**GREEN, "t::c": "skipped"}), run({**GREEN, "t::c": "failed"})).verdict is ProofVerdict.FAILED


def test_a_broken_test_fails_although_the_command_says_that_all_is_well():
    candidate = run({"t::a": "failed", "t::b": "passed"}, exit_code=0, problem="tests failed, but")
    assert judge(run(), candidate).verdict is ProofVerdict.FAILED


def test_a_new_test_that_fails_fails():
    assert judge(run(), run({**GREEN, "t::new": "failed"})).verdict is ProofVerdict.FAILED


def test_a_worse_exit_code_fails_although_every_test_passes():
    assert judge(run(), run(exit_code=2)).verdict is ProofVerdict.FAILED


def test_a_worse_exit_code_of_a_command_without_single_tests_fails():
    assert judge(run({}), run({}, exit_code=1)).verdict is ProofVerdict.FAILED


def test_a_candidate_out_of_time_fails():
    assert judge(run(), out_of_time(GREEN)).verdict is ProofVerdict.FAILED


def test_a_candidate_that_only_a_limit_ends_fails():
    report = judge(run(), ended_by_a_limit())
    assert report.verdict is ProofVerdict.FAILED
    assert "9 MB" in report.reasons[0]


def test_a_blocking_policy_finding_fails_whatever_the_tests_say():
    assert judge(run(), run(), policy=(FINDING,)).verdict is ProofVerdict.FAILED


def test_a_blocking_policy_finding_fails_also_when_nothing_was_run():
    assert judge(None, None, policy=(FINDING,), refused="no sandbox").verdict is ProofVerdict.FAILED


INCONCLUSIVE = {
    "isolation was refused": (None, None),
    "only base was run": (run(), None),
    "only the candidate was run": (None, run()),
    "the same tests fail on both": (run({**GREEN, "t::c": "failed"}), run({**GREEN, "t::c": "failed"})),
    "one of two red tests was fixed": (
        run({"t::a": "failed", "t::b": "failed"}),
        run({"t::a": "passed", "t::b": "failed"}),
    ),
    "the command fails on both": (run({}, exit_code=1), run({}, exit_code=1)),
    "no test was collected on either": (run({}, exit_code=5), run({}, exit_code=5)),
    "both are out of time": (out_of_time(), out_of_time()),
    "both are ended by a limit": (ended_by_a_limit(), ended_by_a_limit()),
    "the original was loaded": (run(), run(loaded=False)),
    "the changed module was not loaded": (run(), run(loaded=None)),
    "the changed module was not loaded by a command": (run({}), run({}, loaded=None)),
    "the candidate left no results": (run(), run({}, problem="the test runner left no results")),
    "the candidate was cut short": (run(), run({"t::a": "passed"}, problem="cut short")),
    "neither left results": (run({}, problem="left no results"), run({}, problem="left no results")),
    "the results on base cannot be believed": (run(problem="cut short"), run()),
    "a passing test was removed": (run(), run({"t::a": "passed"})),
    "a red test was removed": (run({**GREEN, "t::c": "failed"}), run()),
    "a passing test is skipped": (run(), run({"t::a": "passed", "t::b": "skipped"})),
    "a red test is skipped": (run({**GREEN, "t::c": "failed"}), run({**GREEN, "t::c": "skipped"})),
    "every test is skipped": (run({"t::a": "skipped"}), run({"t::a": "skipped"})),
    "all results are gone": (run(), run({})),
    "a red test on both that the command does not mind": (
        run({**GREEN, "t::c": "failed"}, exit_code=0),
        run({**GREEN, "t::c": "failed"}, exit_code=0),
    ),
    "a file that did not load is gone": (run({"t.py": "error"}), run({"u.py::a": "passed"})),
}


@pytest.mark.parametrize("case", INCONCLUSIVE)
def test_what_shows_nothing_is_inconclusive_and_says_why(case):
    base, candidate = INCONCLUSIVE[case]
    report = judge(base, candidate, refused="no sandbox holds" if base is candidate is None else "")
    assert report.verdict is ProofVerdict.INCONCLUSIVE
    assert report.reasons
    assert all(report.reasons)


def test_a_change_without_python_and_without_any_test_is_inconclusive():
    report = judge(run({}, loaded=None), run({}, loaded=None), changed_python=False)
    assert report.verdict is ProofVerdict.INCONCLUSIVE


def test_removed_and_skipped_tests_are_named():
    report = judge(run({**GREEN, "t::c": "passed"}), run({"t::a": "passed", "t::b": "skipped"}))
    assert report.removed_tests == ("t::c",)
    assert any("t::b" in reason for reason in report.reasons)


def test_a_test_that_was_skipped_on_base_may_go():
    report = judge(run({**GREEN, "t::c": "skipped"}), run())
    assert (report.verdict, report.removed_tests) == (ProofVerdict.PASSED, ())


def test_every_doubt_is_given_not_only_the_first():
    report = judge(run(), run({"t::a": "skipped"}, loaded=False))
    assert len(report.reasons) >= 3


def test_many_tests_are_counted_rather_than_listed():
    many = {f"t::{number:03}": "passed" for number in range(100)}
    (reason, *_) = judge(run(many), run(dict.fromkeys(many, "failed"))).reasons
    assert "and 90 more" in reason
