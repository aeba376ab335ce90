"""New ways in: routes, webhooks and timed jobs that code newly has."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from homeostat.model.change import FileChange, FileState, TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.python_pieces import uses_of_any
from homeostat.policy.rules.shape import TEST_FILE, Rule, added_lines
from homeostat.policy.signs import Signs

_DECORATORS = re.compile(
    r".*\.(?:route|get|post|put|delete|patch|head|options|websocket|api_route|websocket_route|view_config)"
)
_CALLS = re.compile(
    r"(?:.*\.)?(?:add_url_rule|add_api_route|add_route|add_(?:get|post|put|delete|patch|view|websocket_route)|include_router|register_blueprint"
    r"|mount|re_path)|(?:django\.urls\.)?path"
)
_TEXT_FIRST = re.compile(r"(?:.*\.)?(?:path|re_path|mount)")
_TIMED = re.compile(r"(?:.*\.)?(?:scheduled_job|add_job|add_periodic_task|crontab|periodic_task)|schedule\.every")


_SIGNS = Signs(
    (_TIMED,),
    words=(
        "add_url_rule",
        "add_api_route",
        "add_route",
        "add_get",
        "add_post",
        "add_put",
        "add_patch",
        "add_delete",
        "add_view",
        "add_websocket",
        "include_router",
        "register_blueprint",
    ),
    texts=(re.compile(r"\(\s*[rRfFbBuU]?['\"]/|\b(?:re_)?path\b\s*(?:\(|as\b)|\bmount\b"),),
)
"""`get`, `path` and the like are words of everyday; what follows them is not."""


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    for item in change.files:
        if item.after is not None and item.path.endswith(".py") and not TEST_FILE.fullmatch(item.path):
            yield from _new(item)


def _new(item: FileChange) -> Iterator[PolicyFinding]:
    found = list(_ways(item.after))
    if not found:
        return
    had = Counter(what for what, _ in _ways(item.before))
    new = {number for number, _ in added_lines(item)}
    for what, line in found:
        if had[what] > 0:
            had[what] -= 1
        elif line in new:
            yield PolicyFinding(
                rule="endpoints",
                severity=PolicySeverity.REVIEW,
                path=item.path,
                line=line,
                message=f"this newly {what}",
                remedy="say in the reason who may call it, and how that is checked",
                confidence=0.8,
            )


def _ways(state: FileState | None) -> Iterator[tuple[str, int]]:
    for use in uses_of_any(state.content, _SIGNS) if state else ():
        first = use.arguments[0] if use.arguments else None
        if _TIMED.fullmatch(use.name):
            yield f"runs something by the clock: `{use.name}`", use.line
        elif first is not None and first.startswith("/") and _DECORATORS.fullmatch(use.name):
            yield f"answers requests at {first[:80]}", use.line
        elif _CALLS.fullmatch(use.name) and len(use.arguments) > 1 and (first or not _TEXT_FIRST.fullmatch(use.name)):
            yield f"answers requests: `{use.name}` {(first or '')[:80]}".rstrip(), use.line


RULE = Rule(id="endpoints", summary="New routes and timed jobs are pointed out", check=_check)
