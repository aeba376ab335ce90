"""Tests that go, are skipped, or assert less: what proves a change is not the change's to weaken unseen."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from homeostat.model.change import FileChange, FileState, TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.claims import Claims, claims_of
from homeostat.policy.document import PolicyDocument
from homeostat.policy.rules.shape import TEST_FILE, Rule, added_lines, changed_away

_SKIP = re.compile(
    r"pytest\.(?:mark\.)?(?:skip|skipif|xfail|importorskip)\b|(?<![\w.])(?:skip|skipIf|skipUnless|expectedFailure)\b"
    r"|\bmark\.(?:skip|skipif|xfail)\b|^\s*(?:import\s+sys\s*;\s*)?(?:sys\.exit|exit|quit)\("
    r"|unittest\.(?:skip\w*|expectedFailure)|\.skipTest\(|SkipTest|collect_ignore|__test__\s*=\s*False|pytest\.exit\("
)
_TALK = (".md", ".rst")


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    files = [(item, _claims(item.before), _claims(item.after)) for item in _test_files(change)]
    gone = sum(before.tests.total() - after.tests.total() for _, before, after in files)
    # What goes from one file and comes to another one moves.
    moved = sum((after.asserted - before.asserted for _, before, after in files), Counter[str]())
    cases = sum((after.cases - before.cases for _, before, after in files), Counter[str]())
    # What a test expects may change with the code that it is about; then no test may assert less than it did.
    with_code = any(_is_code(item) for item in change.files)
    fewer = sum(before.asserted.total() - after.asserted.total() for _, before, after in files) > 0
    fewer_cases = sum(before.cases.total() - after.cases.total() for _, before, after in files) > 0
    for item, before, after in files:
        missing = sorted(name.rpartition(".")[2] for name in before.tests.keys() - after.tests.keys())
        if missing and gone > 0 and before.tests.total() > after.tests.total():
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            yield _finding(
                item, None, f"the test {missing[0]}{more} goes", "keep it, or say in the reason why it is wrong"
            )
        elif (less := _taken(before.asserted - after.asserted, moved)) and (
            not with_code or fewer or _says_less(before, after)
        ):
            what = (
                f"{less} assertions that stood here go or change"
                if less > 1
                else "1 assertion that stood here goes or changes"
            )
            yield _finding(item, None, what, "keep what was asserted, or say why not")
        elif (less := _taken(before.cases - after.cases, cases)) and (not with_code or fewer_cases):
            what = (
                f"{less} values that tests work with go or change"
                if less > 1
                else "1 value that tests work with goes or changes"
            )
            yield _finding(item, None, what, "keep what was tested, or say why not")
        yield from _weaker(item, before, after)
        yield from _skips(item)
    for item in change.files:
        if _is_data(item) and item.before and (item.after is None or (changed_away(item) and not with_code)):
            what = "what tests compare with goes or changes"
            yield _finding(item, None, what, "say in the reason why the other was wrong")


def _is_code(item: FileChange) -> bool:
    return item.path.endswith(".py") and not TEST_FILE.fullmatch(item.path) and item.after is not None


def _says_less(before: Claims, after: Claims) -> bool:
    return any(
        after.strengths[test] < strength for test, strength in before.strengths.items() if test in after.strengths
    )


def _taken(missing: Counter[str], elsewhere: Counter[str]) -> int:
    """Return how much is missing that did not come elsewhere, and take from there what did."""
    found = missing & elsewhere
    elsewhere -= found
    return (missing - found).total()


def _weaker(item: FileChange, before: Claims, after: Claims) -> Iterator[PolicyFinding]:
    """Yield what makes tests that stay prove less."""
    if (after.empty - before.empty).total():
        place = next((number for number, line in added_lines(item) if claims_of(line).empty), None)
        yield _finding(item, place, "this asserts nothing", "assert what the code must do")
    for name in sorted(before.marks.keys() & after.marks.keys()):
        if after.marks[name] - before.marks[name]:
            yield _finding(
                item, None, f"{name or 'a test'} is marked otherwise", "check that it still runs, and what it runs"
            )
            break
    if after.ends > before.ends and item.before is not None:
        yield _finding(item, None, "this ends a test before its last line", "let it come to its assertions")
    if twice := sorted(name for name, count in (after.tests - before.tests).items() if count < after.tests[name]):
        yield _finding(item, None, f"{twice[0].rpartition('.')[2]} hides a test of that name", "give it its own name")
    for name, origin in sorted(before.imported.items()):
        other = after.imported.get(name)
        if name not in before.bound and (
            name in after.bound or (other is not None and _module(other) != _module(origin))
        ):
            yield _finding(item, None, f"{name} is something else than before", "test what the code has, as it is")
            break


def _module(origin: str) -> str:
    return origin.partition(":")[0].lstrip(".").partition(".")[0]


def _skips(item: FileChange) -> Iterator[PolicyFinding]:
    for number, line in added_lines(item):
        if not line.lstrip().startswith("#") and _SKIP.search(line):
            yield _finding(item, number, "this skips a test, or expects it to fail", "mend what the test shows")
            return


def _test_files(change: TreeChange) -> list[FileChange]:
    return [
        item
        for item in change.files
        if any(path.endswith(".py") and TEST_FILE.fullmatch(path) for path in (item.path, item.old_path))
    ]


def _is_data(item: FileChange) -> bool:
    path = item.old_path
    return TEST_FILE.fullmatch(path) is not None and not path.endswith((".py", *_TALK))


def _claims(state: FileState | None) -> Claims:
    return Claims() if state is None else claims_of(state.content.decode("utf-8", errors="replace"))


def _finding(item: FileChange, line: int | None, message: str, remedy: str) -> PolicyFinding:
    return PolicyFinding(
        rule="weakened-tests",
        severity=PolicySeverity.REVIEW,
        path=item.path,
        line=line,
        message=message,
        remedy=remedy,
    )


RULE = Rule(id="weakened-tests", summary="Tests that go, are skipped or assert less are pointed out", check=_check)
