"""Small changes only: what nobody can read in a sitting, nobody has reviewed."""

from collections.abc import Iterable

from homeostat.model.change import TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.rules.shape import Rule, changed_line_count


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    if len(change.files) > document.max_files:
        yield _finding(f"{len(change.files)} files change; {document.max_files} are the limit of a small change")
    lines = sum(changed_line_count(item) for item in change.files)
    if lines > document.max_changed_lines:
        yield _finding(f"{lines} lines change; {document.max_changed_lines} are the limit of a small change")


def _finding(message: str) -> PolicyFinding:
    return PolicyFinding(
        rule="size",
        severity=PolicySeverity.REVIEW,
        path="",
        line=None,
        message=message,
        remedy="split it into changes that each stand alone",
    )


RULE = Rule(id="size", summary="A change is small", check=_check)
