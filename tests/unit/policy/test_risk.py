"""A risk is the sum of its shares, more of anything makes it greater, and consent follows from what is touched."""

import math

import pytest
from builders import POLICY, create, delete, modify, rename, tree
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.model.risk import ConsentLevel
from homeostat.policy import check_change
from homeostat.policy.risk import Evidence, assess

CODE = 'def total(items):\n    """Add up."""\n    return sum(items)  # all\n'


def finding(severity=PolicySeverity.REVIEW, confidence=1.0, rule="size"):
    return PolicyFinding(
        rule=rule, severity=severity, path="a.py", line=1, message="m", remedy="r", confidence=confidence
    )


def of(item, **known):
    return assess(tree(item), check_change(POLICY, tree(item)).findings, Evidence(**known))


@pytest.mark.parametrize(
    ("item", "level"),
    [
        (modify("README.md", "a\n", "b\n"), ConsentLevel.LOW),
        (create("docs/a/b.rst", "b\n"), ConsentLevel.LOW),
        (modify("a.py", CODE, CODE.replace("# all", "# every one")), ConsentLevel.LOW),
        (modify("a.py", CODE, CODE.replace("Add up.", "Add them up.")), ConsentLevel.LOW),
        (modify("a.py", CODE, CODE.replace("sum(items)", "sum( items )")), ConsentLevel.LOW),
        (modify("a.py", CODE, CODE.replace("sum", "max")), ConsentLevel.MEDIUM),
        (modify("a.py", "x = (\n", "x = (1\n"), ConsentLevel.HIGH),
        (rename("a.py", "b.py", CODE), ConsentLevel.MEDIUM),
        (delete("a.py", CODE), ConsentLevel.MEDIUM),
        (modify("docs/conf.py", CODE, CODE.replace("sum", "max")), ConsentLevel.MEDIUM),
        (modify("data.csv", "1\n", "2\n"), ConsentLevel.MEDIUM),
        (modify("a.py", CODE, CODE.replace("sum(items)", "os.system(items)")), ConsentLevel.HIGH),
        (modify("pyproject.toml", "a = 1\n", "a = 2\n"), ConsentLevel.HIGH),
        (modify(".env", "A=1\n", "A=2\n"), ConsentLevel.HIGH),
    ],
)
def test_consent_follows_from_what_is_touched(item, level):
    assert of(item).consent is level


def test_a_coding_that_makes_other_code_of_a_comment_is_logic():
    before = b"# coding: utf-8\nx = 1\n#+AAo-import os\n"
    item = modify("a.py", "", "")
    changed = type(item)(
        kind=item.kind,
        path="a.py",
        old_path="a.py",
        before=type(item.before)(content=before, mode=item.before.mode),
        after=type(item.before)(content=before.replace(b"utf-8", b"utf-7"), mode=item.before.mode),
    )
    assert of(changed).consent >= ConsentLevel.MEDIUM


@pytest.mark.parametrize(("more", "says"), [("x = 1\n", "1 line changes"), ("x = 1\ny = 2\n", "2 lines change")])
def test_one_line_changes_and_two_lines_change(more, says):
    assert says in [factor.says for factor in of(modify("a.py", CODE, CODE + more)).factors]


def test_every_factor_is_shown_and_they_make_the_score():
    risk = of(modify("a.py", CODE, CODE.replace("sum", "max")), callers=9, source_failed=0.5, files_failed=1)
    names = [factor.name for factor in risk.factors]
    assert sorted(names) == ["blast-radius", "coverage", "files", "kind", "size", "source"]
    assert risk.score == pytest.approx(1 - math.prod(1 - factor.share for factor in risk.factors), abs=1e-3)
    assert [factor.share for factor in risk.factors] == sorted((f.share for f in risk.factors), reverse=True)


@settings(deadline=None)
@given(
    st.floats(0, 1), st.floats(0, 1), st.integers(0, 10_000), st.integers(0, 50),
    st.lists(st.builds(finding, st.sampled_from(PolicySeverity), st.floats(0, 1)), max_size=5),
)  # fmt: skip
def test_worse_is_never_less_risk(covered, failed, callers, back, findings):
    change = tree(modify("a.py", CODE, CODE.replace("sum", "max")))
    known = Evidence(covered=covered, callers=callers, source_failed=failed, files_failed=back)
    risk = assess(change, findings, known)
    assert 0 <= risk.score <= 1
    worse = [
        assess(change, [*findings, finding()], known),
        assess(
            change, findings, Evidence(covered=covered / 2, callers=callers, source_failed=failed, files_failed=back)
        ),
        assess(
            change, findings, Evidence(covered=covered, callers=callers + 1, source_failed=failed, files_failed=back)
        ),
        assess(change, findings, Evidence(covered=covered, callers=callers, source_failed=1, files_failed=back)),
        assess(
            change, findings, Evidence(covered=covered, callers=callers, source_failed=failed, files_failed=back + 1)
        ),
    ]
    assert all(one.score >= risk.score and one.consent >= risk.consent for one in worse)


def test_what_is_blocked_is_nearly_sure_harm_and_what_was_not_read_too():
    assert of(create(".env", "A=1\n")).score >= 0.9
    assert assess(tree(), [finding(PolicySeverity.BLOCK)], Evidence()).score >= 0.9
    assert assess(tree(), [], Evidence()).consent is ConsentLevel.NONE


def test_a_program_that_the_file_runs_anyway_counts_and_is_no_finding():
    code = "import subprocess\n\n\ndef run(x):\n    return subprocess.run([x])\n"
    item = modify("a.py", code, code.replace("[x]", "[x, '-v']"))
    assert check_change(POLICY, tree(item)).verdict == "allow"
    assert "external-execution" in [factor.name for factor in of(item).factors]
