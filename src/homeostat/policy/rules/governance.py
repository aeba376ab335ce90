"""What guards the others (policies, audit, approval, checks in code): edits of it, and of what makes it weaker."""

import ast
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator

from homeostat.model.change import FileChange, FileState, TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.rules.shape import TEST_FILE, Rule, added_lines

_FILES = re.compile(
    r"(?i)(?:.*/)?(?:[\w.-]*[_.-])?(?:polic(?:y|ies)|audit(?:s|ing|_?logs?)?|ledgers?|governance|guardrails?|code_?owners|(?:allow|white|deny|block|black)_?lists?"
    r"|.*\.(?:cedar|cedarschema|rego)|approvals?|approvers|rbac|(?:guards?|permissions|contracts?|constitution|security)(?=[\w.-]*\.(?!py)\w+$))(?:[_.-][\w.-]*)?(?:/.*)?"
)
"""A folder or a file that is called what it guards by; for words of everyday code, only what is no Python."""

_TALK = re.compile(r"(?i).*\.(?:md|rst|txt|adoc|html|po|pot|svg|png|css)")

_CONTROL = re.compile(
    r"(?i)(?:.*\.)?(?:audit(?:or|_?log(?:ger)?|_?trail)?\.\w+|\w*audit_?(?:log|event|record|trail|action)\w*|audit"
    r"|authori[sz]e\w*|\w*is_authori[sz]ed|authenticate|(?:require|check|verify|validate|enforce|ensure|assert)_\w*"
    r"(?:auth|access|permission|role|owner|admin|login|signature|token|csrf|policy|scope|consent|approv|digest|checksum|quota)\w*"
    r"|compare_digest|\w*login_required|permission_required|has_perm\w*|csrf_protect|rate_?limit(?:er|ed)?|is_safe_\w+|sanitize(?:_\w+)?)"
)
"""Calls and decorators that check or record who does what."""

_CONTROLS = re.compile(
    rb"(?i)audit|authori[sz]e|authenticate|compare_digest|login_required|permission|has_perm|csrf|rate_?limit|is_safe_|sanitize"
    rb"|(?:require|check|verify|validate|enforce|ensure|assert)_"
)
"""Without one of these there is none of `_CONTROL`."""

_CALLED = re.compile(r"(?<![\w.])(?<!def )([A-Za-z_][\w.]*)\s*\(|^\s*@([\w.]+)\s*$")

_SAYS_SO = re.compile(r"(?i)[:=]\s*[\"']?(?:false|no|off|0|disabled?|permissive|allow|true|yes|on|1|all|\*)\b|\*")
"""A value that switches something; most lines have none, and are left sooner."""

_SWITCH = re.compile(
    r"(?i)[\"']?\b(?P<name>[\w.-]*(?:approv|audit|sandbox|verify|verification|signature|authenti|authori[sz]|csrf|encrypt|polic|strict"
    r"|enforc|isolate[sd]?\b|redact|guard|permission|review|consent|check_host|requires?_\w)[\w.-]*)[\"']?(?:\s*:\s*\w+)?"
    r"\s*[:=]\s*(?P<value>[\"']?(?:false|no|off|0|disabled?|permissive|allow)[\"']?)\s*(?:[,#;)].*)?$"
)
_OPENING = re.compile(
    r"(?i)[\"']?\b(?P<name>(?:[\w.-]*[_.-])?(?:skip|bypass|disable|ignore|allow_all|allow_any|insecure|unsafe|no_verify|trust_all|permit_all|force|auto_?approve|auto_?apply|auto_?merge)"
    r"(?:[_.-][\w.-]*)?)[\"']?(?:\s*:\s*\w+)?\s*[:=]\s*(?P<value>[\"']?(?:true|yes|on|1|all|\*)[\"']?)\s*(?:[,#;)].*)?$"
)
_GUARDED = re.compile(
    r"(?i)auth|audit|verif|signature|approv|polic|secur|guard|permission|check|valid|review|sandbox|csrf|all|any|insecure|unsafe|trust|permit|auto"
)

_REMEDY = "a person looks at what this guards, and says in the review that it is meant"


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    for item in change.files:
        if any(TEST_FILE.fullmatch(path) for path in item.touched_paths):
            continue
        guard = next(
            (path for path in item.touched_paths if _FILES.fullmatch(path) and not _TALK.fullmatch(path)), None
        )
        if guard is not None:
            yield _finding(item, guard, None, "this file says what may be done, or records it", 0.7)
        if not _TALK.fullmatch(item.path):
            yield from _switched(item)
        if item.path.endswith((".py", ".pyi")):
            yield from _missing(item)
            yield from _emptied(item)


def _switched(item: FileChange) -> Iterator[PolicyFinding]:
    """Report new lines that switch a control off, or a way around it on."""
    found = [(number, name) for number, line in added_lines(item) if (name := _switches(line))]
    had = {_switches(line) for line in _lines(item.before)} if found else set()
    for number, name in found:
        if name not in had:
            yield _finding(item, item.path, number, f"this switches a control off: {name}", 0.6)


def _switches(line: str) -> str:
    bare = line.strip()
    if not bare or bare[0] in "#;" or len(bare) > 500 or not _SAYS_SO.search(bare):
        return ""
    match = _SWITCH.search(bare)
    if match is None:
        match = _OPENING.search(bare)
        if match is None or not _GUARDED.search(match["name"]):
            return ""
    return match["name"]


def _lines(state: FileState | None) -> list[str]:
    return [] if state is None else state.content.decode("utf-8", errors="replace").split("\n")


def _missing(item: FileChange) -> Iterator[PolicyFinding]:
    """Report checks and records that the code makes less often than before."""
    before, after = _controls(item.before), _controls(item.after)
    for name, count in (before - after).items():
        if after.total() < before.total():
            yield _finding(item, item.path, None, f"`{name}` is called {count} times less than before", 0.5)


def _controls(state: FileState | None) -> Counter[str]:
    """Count calls and decorators by what is written: of `audit.record` it is the object's name that tells."""
    if state is None or not _CONTROLS.search(state.content):
        return Counter()
    names = (match[1] or match[2] for line in _lines(state) for match in _CALLED.finditer(line.partition("#")[0]))
    return Counter(name for name in names if _CONTROL.fullmatch(name))


def _emptied(item: FileChange) -> Iterator[PolicyFinding]:
    """Report a check that newly says yes, or nothing, at its first step."""
    had = set(_yes(item.before))
    for name, line in _yes(item.after).items():
        if name not in had:
            yield _finding(item, item.path, line, f"`{name}` lets everything pass", 0.8)


def _yes(state: FileState | None) -> dict[str, int]:
    if state is None:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(state.content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _CONTROL.fullmatch(node.name):
            steps = [step for step in node.body if not _is_talk(step)]
            if steps and (isinstance(steps[0], ast.Pass) or _says_yes(steps[0])):
                found[node.name] = steps[0].lineno
    return found


def _is_talk(step: ast.stmt) -> bool:
    return isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant)


def _says_yes(step: ast.stmt) -> bool:
    if not isinstance(step, ast.Return):
        return False
    return step.value is None or (isinstance(step.value, ast.Constant) and step.value.value in (True, None))


def _finding(item: FileChange, path: str, line: int | None, message: str, confidence: float) -> PolicyFinding:
    return PolicyFinding(
        rule="governance",
        severity=PolicySeverity.REVIEW,
        path=path,
        line=line,
        message=message,
        remedy=_REMEDY,
        confidence=confidence,
    )


RULE = Rule(id="governance", summary="Edits of what guards the others are pointed out", check=_check)
