"""Files that run code or steer tools without being called: a person should look twice."""

import re
from collections.abc import Iterable

from homeostat.model.change import TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.rules.shape import Rule

_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("runs in every test", re.compile(r"(?i)(?:.*/)?conftest\.py")),
    (
        "steers continuous integration",
        re.compile(r"(?i)\.(?:github|gitlab|circleci|ci|azure-pipelines)(?:/.*|-ci\.ya?ml)?"),
    ),
    ("is a hook", re.compile(r"(?i)(?:.*/)?(?:\.pre-commit-config\.yaml|\.husky/.*|hooks/.*)")),
    (
        "decides what is installed",
        re.compile(
            r"(?i)(?:.*/)?(?:requirements[^/]*\.(?:txt|in|lock)|[^/]*\.lock|pylock[^/]*\.toml|package-lock\.json)"
        ),
    ),
    (
        "decides how the project is built and tested",
        re.compile(r"(?i)(?:.*/)?(?:pyproject\.toml|setup\.(?:py|cfg)|tox\.ini|noxfile\.py|pytest\.ini|makefile)"),
    ),
)


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    for path in change.touched_paths:
        for meaning, pattern in _KINDS:
            if pattern.fullmatch(path):
                yield PolicyFinding(
                    rule="environment-files",
                    severity=PolicySeverity.REVIEW,
                    path=path,
                    line=None,
                    message=f"this file {meaning}",
                    remedy="check that the change is meant, and that the reason given covers it",
                )


RULE = Rule(id="environment-files", summary="Files that run or steer by themselves are pointed out", check=_check)
