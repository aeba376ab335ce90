"""Agents' configuration: no change gives an agent more than it had. The five ways of the source plan's section 3.1."""

import re
from collections.abc import Iterable, Iterator

from homeostat.core.errors import InvalidInput
from homeostat.model.change import FileChange, FileState, TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.config_entries import Entry, added_entries
from homeostat.policy.document import PolicyDocument
from homeostat.policy.rules.shape import TEST_FILE, Rule

SUFFIXES = (".yaml", ".yml", ".json", ".toml", ".ini", ".cfg", ".conf")

_AGENTS = re.compile(r"(?i)(?:^|[^a-z])(?:agents?|assistants?|personas?|bots?|crew|swarm|mcp)(?:[^a-z]|$)")
"""Files and keys that are about agents."""

_PRIVILEGES = re.compile(
    r"(?i)extensions?|tools?|tool_?sets?|capabilit(?:y|ies)|permissions?|privileges?|scopes?|roles?|grants?|abilities"
    r"|skills|commands?|plugins?|actions?|functions?|mcp_?servers?|(?:run_?as|sudo|root|admin|superuser|unrestricted)"
)
_ALLOWED = re.compile(
    r"(?i)(?:\w+_)?(?:allow(?:ed|s|_?list)?|white_?list(?:ed)?|permit(?:ted|s)?|trusted|exempt(?:ed|ions)?|bypass(?:es)?)(?:_\w+)?"
    r"|(?:file|read|write)_?(?:paths?|roots?|dirs?)"
)
_WEBHOOKS = re.compile(r"(?i)(?:\w+_)?(?:web_?hooks?|call_?backs?|hook_url|notify_url|post_to)(?:_\w+)?")
_SCHEDULE = re.compile(
    r"(?i)(?:\w+_)?(?:schedules?|cron(?:tab)?|interval|rrule|run_?at|every|frequency|on_?calendar)(?:_\w+)?"
)
_SCHEDULED = re.compile(r"(?i)(?:^|[^a-z])(?:schedul\w*|cron\w*|beat|timers?)(?:[^a-z]|$)")
_RESTRICTED = re.compile(
    r"(?i)(?:^|[^a-z])(?:shell|bash|exec\w*|run_?(?:command|code|shell)|terminal|subprocess|code_?interpreter|sudo|ssh|docker|kubectl"
    r"|write_?(?:file|patch)|delete\w*|deploy|provision|apply\w*|open_?pr|merge|git_?push|http_?request|webhook|admin|credentials?)(?:[^a-z]|$)"
)
"""Tools that change something outside of a conversation."""

_REMEDY = "a person makes this change by hand, outside of proposals"


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    for item in change.files:
        if item.after is None or not item.path.lower().endswith(SUFFIXES) or TEST_FILE.fullmatch(item.path):
            continue
        suffix = next(one for one in SUFFIXES if item.path.lower().endswith(one))
        try:
            added = added_entries(_text(item.before), _text(item.after), suffix=suffix)
        except InvalidInput as error:
            yield _finding(item, None, f"{error.message}: nobody can tell what it grants", PolicySeverity.BLOCK)
            continue
        yield from _grants(item, added)


def _text(state: FileState | None) -> str:
    return "" if state is None else state.content.decode("utf-8", errors="replace")


def _grants(item: FileChange, added: list[Entry]) -> Iterator[PolicyFinding]:
    told: set[tuple[str, str]] = set()
    for entry in added:
        found = _meaning(item.path, entry)
        if found is None:
            continue
        severity, message = found
        if (message, entry.value) not in told:
            told.add((message, entry.value))
            yield _finding(item, entry.line, message, severity)


def _meaning(path: str, entry: Entry) -> tuple[PolicySeverity, str] | None:
    """Say what a new entry means for what agents may do; None where it means nothing."""
    keys = [step.strip("[]") for step in entry.path]
    ours = _AGENTS.search(path) is not None or any(_AGENTS.search(key) for key in keys)
    where, what = " › ".join(key for key in keys if key), entry.value[:80]
    scheduled = _SCHEDULED.search(path) is not None or any(_SCHEDULED.search(key) for key in keys)
    # No means no: what is switched off, or asks for nothing, grants nothing.
    nothing = entry.value.lower() in ("", "false", "no", "off", "0", "none", "null", "~", "{}", "[]", "deny", "denied")
    if any(_PRIVILEGES.fullmatch(key) for key in keys) and not nothing:
        if scheduled and _RESTRICTED.search(entry.value):
            return PolicySeverity.BLOCK, f"this lets a scheduled task use a restricted tool: {where}: {what}"
        if ours:
            return PolicySeverity.BLOCK, f"this grants an agent what it did not have: {where}: {what}"
        return PolicySeverity.REVIEW, f"this grants more than before: {where}: {what}"
    if any(_ALLOWED.fullmatch(key) for key in keys) and not nothing:
        return (
            PolicySeverity.BLOCK if ours else PolicySeverity.REVIEW
        ), f"this allows more than before: {where}: {what}"
    if any(_WEBHOOKS.fullmatch(key) for key in keys) and not nothing:
        return (
            PolicySeverity.BLOCK if ours else PolicySeverity.REVIEW
        ), f"this adds an endpoint that is called: {where}: {what}"
    if any(_SCHEDULE.fullmatch(key) for key in keys):
        return (
            PolicySeverity.BLOCK if scheduled and ours else PolicySeverity.REVIEW
        ), f"this changes when something runs: {where}: {what}"
    if entry.path and all(not key for key in keys) and ours:  # a member of a list whose name the patch does not show
        return PolicySeverity.REVIEW, f"this adds a member to a list of an agent's configuration: {what}"
    return None


def _finding(item: FileChange, line: int | None, message: str, severity: PolicySeverity) -> PolicyFinding:
    return PolicyFinding(
        rule="agent-configuration",
        severity=severity,
        path=item.path,
        line=line,
        message=message,
        remedy=_REMEDY,
        confidence=0.9 if severity is PolicySeverity.BLOCK else 0.6,
    )


RULE = Rule(id="agent-configuration", summary="No agent is given more than it had", check=_check)
