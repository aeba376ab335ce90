"""The risk of a change (SPEC Y07): its kind and size, what the rules said, what is known of tests and of the past.

Shares combine as independent causes of harm do: ``1 - product of (1 - share)``, so that each can be shown beside its
reason, and more reasons never make less risk. The shares themselves are judgement, not measurement; they are constants
here so that they can be argued with.
"""

import ast
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from homeostat.model.change import ChangeKind, FileChange, FileState, TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.model.risk import ConsentLevel, Risk, RiskFactor
from homeostat.policy.rules.dangerous_calls import programs_of
from homeostat.policy.rules.shape import TEST_FILE, changed_line_count

_TALK = re.compile(
    r"(?i).*\.(?:md|rst|txt|adoc|po|pot|svg|png)|(?:.*/)?(?:docs?|licen[cs]e[^/]*|authors|changelog)(?:/.*|)"
)
_PYTHON = (".py", ".pyi", ".pyw", ".pyx")

_REVIEW_SHARE = 0.3
_BLOCK_SHARE = 0.95
_HIGH_RISK = 0.6
_LOW_RISK = 0.2

_STRONG = frozenset(
    {"dangerous-calls", "agent-configuration", "governance", "environment-files", "endpoints", "look-alikes"}
)
"""Rules whose findings ask for a person whatever the figures say: commands, rights, what guards and what builds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known beside the change; what is None is not known, and counts as a reason for some risk."""

    covered: float | None = None
    """Share of the changed lines of code that the tests ran."""

    callers: int | None = None
    """How many functions elsewhere call, directly or through others, what is changed."""

    source_failed: float | None = None
    """Of the last changes from this source, the share that was rejected, blocked or taken back."""

    files_failed: int = 0
    """How many changes to these files were taken back in the last 30 days."""


def assess(change: TreeChange, findings: Sequence[PolicyFinding], evidence: Evidence) -> Risk:
    """Return the risk of a change with these findings; a patch that could not be read is a `TreeChange` of no file."""
    factors = sorted(
        (factor for factor in _factors(change, findings, evidence) if factor.share > 0),
        key=lambda factor: (-factor.share, factor.name),
    )
    score = round(1 - math.prod(1 - factor.share for factor in factors), 3)
    return Risk(score=score, consent=_consent(change, findings, score), factors=tuple(factors))


def _factors(change: TreeChange, findings: Sequence[PolicyFinding], evidence: Evidence) -> Iterator[RiskFactor]:
    kind, says = max((_kind(item) for item in change.files), default=(0.0, ""))
    yield RiskFactor(name="kind", share=kind, says=says)
    lines = sum(changed_line_count(item) for item in change.files)
    yield RiskFactor(
        name="size",
        share=round(0.2 * min(1, lines / 400), 3),
        says="1 line changes" if lines == 1 else f"{lines} lines change",
    )
    folders = {item.path.rpartition("/")[0] for item in change.files if not _is_talk(item)}
    spread = len(change.files) - 1 + len(folders)
    yield RiskFactor(
        name="spread",
        share=round(0.15 * min(1, max(0, spread - 1) / 20), 3),
        says=f"{len(change.files)} files in {len(folders)} folders change",
    )
    yield from _of_rules(findings)
    if any(_is_logic(item) for item in change.files):
        yield from _of_code(change, evidence)
    yield from _of_the_past(evidence)


def _kind(item: FileChange) -> tuple[float, str]:
    if _is_talk(item):
        return 0.01, "only what people read changes"
    if item.kind is ChangeKind.DELETE:
        return 0.2, f"{item.path} goes"
    if TEST_FILE.fullmatch(item.path):
        return 0.03, "tests change"
    if not item.path.endswith(_PYTHON):
        return 0.2, f"{item.path} steers what is not seen here"
    if not _is_logic(item):
        return 0.02, "comments, docstrings or formatting change"
    return 0.12, "what the code does changes"


def _of_rules(findings: Sequence[PolicyFinding]) -> Iterator[RiskFactor]:
    for finding in findings:
        most = _BLOCK_SHARE if finding.severity is PolicySeverity.BLOCK else _REVIEW_SHARE
        where = f"{finding.path}:{finding.line}" if finding.line else finding.path
        yield RiskFactor(
            name=f"rule:{finding.rule}",
            share=round(most * finding.confidence, 3),
            says=f"{where}: {finding.message}".lstrip(": "),
        )


def _of_code(change: TreeChange, evidence: Evidence) -> Iterator[RiskFactor]:
    if evidence.covered is None:
        yield RiskFactor(name="coverage", share=0.05, says="nobody knows whether tests run the changed lines")
    else:
        share = round(0.2 * (1 - evidence.covered), 3)
        yield RiskFactor(name="coverage", share=share, says=f"tests run {evidence.covered:.0%} of the changed lines")
    if evidence.callers is not None:
        share = round(0.15 * min(1, math.log1p(evidence.callers) / math.log(101)), 3)
        yield RiskFactor(name="blast-radius", share=share, says=f"{evidence.callers} functions elsewhere lead there")
    runs = next((name for item in change.files if _is_logic(item) for name in _programs(item.after)), None)
    if runs is not None:
        yield RiskFactor(name="external-execution", share=0.1, says=f"the changed file runs other programs: {runs}")


def _of_the_past(evidence: Evidence) -> Iterator[RiskFactor]:
    if evidence.source_failed is not None:
        share = round(0.2 * evidence.source_failed, 3)
        yield RiskFactor(
            name="source", share=share, says=f"{evidence.source_failed:.0%} of its source's last changes failed"
        )
    if evidence.files_failed:
        share = round(0.1 * min(1, evidence.files_failed / 3), 3)
        yield RiskFactor(
            name="files", share=share, says=f"{evidence.files_failed} changes to these files were taken back"
        )


def _programs(state: FileState | None) -> Iterator[str]:
    for name in programs_of(state.content) if state else ():
        yield f"`{name}`"


def _consent(change: TreeChange, findings: Sequence[PolicyFinding], score: float) -> ConsentLevel:
    blocked = any(finding.severity is PolicySeverity.BLOCK for finding in findings)
    if blocked or score >= _HIGH_RISK or any(finding.rule in _STRONG for finding in findings):
        return ConsentLevel.HIGH
    if not change.files:
        return ConsentLevel.NONE
    harmless = all(_is_talk(item) or (item.path.endswith(_PYTHON) and not _is_logic(item)) for item in change.files)
    if harmless and not findings and score < _LOW_RISK:
        return ConsentLevel.LOW
    return ConsentLevel.MEDIUM


def _is_talk(item: FileChange) -> bool:
    return all(_TALK.fullmatch(path) is not None and not path.endswith(_PYTHON) for path in item.touched_paths)


def _is_logic(item: FileChange) -> bool:
    """Tell a change of what Python does; a file that comes or goes counts as one, and so does what does not parse."""
    if not item.path.endswith(_PYTHON) or TEST_FILE.fullmatch(item.path):
        return False
    if item.before is None or item.after is None or item.path != item.old_path:
        return True
    before, after = _meaning(item.before), _meaning(item.after)
    if before is None or after is None:  # a piece of a file, say: only lines of comments are surely none of its logic
        return _code_lines(item.before) != _code_lines(item.after)
    return before != after


def _code_lines(state: FileState) -> list[str]:
    lines = (line.rstrip() for line in state.content.decode("utf-8", errors="replace").split("\n"))
    return [line for line in lines if line and not line.lstrip().startswith("#")]


def _meaning(state: FileState) -> str | None:
    """Return what a source says without comments, formatting and docstrings; None where it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(state.content)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
        return ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
