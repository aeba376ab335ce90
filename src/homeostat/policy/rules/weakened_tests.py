"""Tests that go, are skipped, or assert less: what proves a change is not the change's to weaken unseen."""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass

from homeostat.model.change import FileChange, FileState, TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.rules.shape import TEST_FILE, Rule, added_lines

_TEST = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+(test\w*)", re.MULTILINE)
_ASSERTION = re.compile(
    r"^[ \t]*(?:assert\b|self\.(?:assert|fail)\w*\(|with (?:pytest\.raises|self\.assert))", re.MULTILINE
)
_SKIP = re.compile(
    r"pytest\.(?:mark\.)?(?:skip|skipif|xfail|importorskip)\b|(?<![\w.])(?:skip|skipIf|skipUnless|expectedFailure)\b"
    r"|unittest\.(?:skip\w*|expectedFailure)|\.skipTest\(|SkipTest|collect_ignore|__test__\s*=\s*False|pytest\.exit\("
)
_EMPTY = re.compile(r"^[ \t]*(?:assert[ \t]+(?:True|1)\b(?![ \t]*[=<>!+])|self\.assertTrue\(True\))")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tests:
    """What a test file has, counted by its text: a file that does not parse is counted as well."""

    names: frozenset[str]
    tests: int
    assertions: int


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    gone = sum(_count(item.before).tests - _count(item.after).tests for item in _test_files(change))
    for item in _test_files(change):
        before, after = _count(item.before), _count(item.after)
        missing = sorted(before.names - after.names)
        if missing and gone > 0 and before.tests > after.tests:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            yield _finding(
                item, None, f"the test {missing[0]}{more} goes", "keep it, or say in the reason why it is wrong"
            )
        elif before.assertions > after.assertions and before.tests >= after.tests:
            less = before.assertions - after.assertions
            yield _finding(item, None, f"{less} assertions fewer than before", "keep what was asserted, or say why not")
        for number, line in added_lines(item):
            if not line.lstrip().startswith("#") and _SKIP.search(line):
                yield _finding(item, number, "this skips a test, or expects it to fail", "mend what the test shows")
                break
            if _EMPTY.match(line):
                yield _finding(item, number, "this asserts nothing", "assert what the code must do")
                break


def _test_files(change: TreeChange) -> list[FileChange]:
    return [
        item
        for item in change.files
        if any(path.endswith(".py") and TEST_FILE.fullmatch(path) for path in (item.path, item.old_path))
    ]


def _count(state: FileState | None) -> _Tests:
    text = "" if state is None else _without_texts(state.content.decode("utf-8", errors="replace"))
    names = _TEST.findall(text)
    return _Tests(names=frozenset(names), tests=len(names), assertions=len(_ASSERTION.findall(text)))


def _without_texts(source: str) -> str:
    """Return a source without its long texts, in which a test may stand that is none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source
    lines = source.split("\n")
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.end_lineno
            and node.end_lineno > node.lineno
        ):
            for number in range(node.lineno, node.end_lineno):
                lines[number] = ""
    return "\n".join(lines)


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
