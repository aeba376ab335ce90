"""Addresses outside of the machine that a change newly names, in code and configuration."""

import re
from collections.abc import Iterable, Iterator

from homeostat.model.change import FileChange, FileState, TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.python_pieces import uses_of_any
from homeostat.policy.rules.shape import TEST_FILE, Rule, added_lines, base_name
from homeostat.policy.signs import Signs

ALLOWED = ("api.openai.com", "api.anthropic.com", "github.com")
"""Section 2.6 of the source plan (SPEC Y03)."""

_URL = re.compile(
    r"(?i)\b(?:https?|wss?|ftp|git|ssh|smtp|ldap|redis|amqp|s3)://(?:[^\s/@'\"<>]*@)?(\[[0-9a-f:.]+\]|[^\s/:?#'\"<>)\]},;]+)"
)
_HERE = re.compile(
    r"(?i)localhost|127(?:\.\d+){3}|0\.0\.0\.0|\[::1\]|.*\.(?:example|test|invalid|localhost|local)|(?:.*\.)?example\.(?:com|org|net)"
    r"|.*[{}%$].*|[^.]*"
)
"""This machine, names that are nobody's, and what is no whole name."""

_PROSE = re.compile(r"[A-Za-z]{2,}[,:;.]? (?:[A-Za-z]{2,}[,:;.]? )*[<(\[`'\"]*$")
"""Words before an address: nobody asks for such a text."""

_CONFIGURATION = (".yaml", ".yml", ".json", ".toml", ".ini", ".cfg", ".conf", ".env", ".sh", ".service")
_COMMENT = re.compile(r"^\s*(?:#|//|;)")


_SIGNS = Signs((), texts=(re.compile("://"),))


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    for item in change.files:
        if item.after is None or TEST_FILE.fullmatch(item.path):
            continue
        found = list(_hosts(item, item.after))
        if not found:
            continue
        had = {host for host, _ in _hosts(item, item.before)}
        known = "" if item.before is None else item.before.content.decode("utf-8", "replace").replace("\\", "").lower()
        new = {number for number, _ in added_lines(item)}
        told: set[str] = set()
        for host, line in found:
            if host not in had and host not in told and line in new and not _is_known(host, item, known):
                told.add(host)
                yield PolicyFinding(
                    rule="external-urls",
                    severity=PolicySeverity.REVIEW,
                    path=item.path,
                    line=line,
                    message=f"this newly names the address {host[:100]}",
                    remedy="check whose it is and what is sent there; or take it from the settings",
                )


def _is_known(host: str, item: FileChange, known: str) -> bool:
    """Tell a host of a domain that the file named before, or that an existing file is called after."""
    labels = host.split(".")
    domain, name = ".".join(labels[-2:]), labels[-2] if len(labels) > 1 else ""
    stem = base_name(item.path).partition(".")[0].lower()
    return (
        f".{domain}" in known or f"/{domain}" in known or (item.before is not None and len(name) > 2 and name == stem)
    )


def _hosts(item: FileChange, state: FileState | None) -> Iterator[tuple[str, int]]:
    """Yield name and line of each address outside that code or configuration has; comments and docstrings are talk."""
    if state is None:
        return
    text = state.content.decode("utf-8", errors="replace")
    python = item.path.endswith((".py", ".pyi", ".pyw"))
    if python:
        places = [(use.text, use.line) for use in uses_of_any(state.content, _SIGNS) if use.text]
    elif item.path.endswith(_CONFIGURATION):
        places = [(line, number) for number, line in enumerate(text.split("\n"), 1) if not _COMMENT.match(line)]
    else:
        return
    for words, line in places:
        for match in _URL.finditer(words):
            host = match[1].lower().rstrip(".")
            if "\\" in host or (python and _PROSE.search(words[: match.start()])):  # a pattern, or talk about it
                continue
            if not _HERE.fullmatch(host) and not any(host == one or host.endswith(f".{one}") for one in ALLOWED):
                yield host, line


RULE = Rule(id="external-urls", summary="New addresses outside of the machine are pointed out", check=_check)
