"""Secrets in added lines. A finding names line and kind, never the secret."""

import math
import re
from collections.abc import Iterable, Sequence

from homeostat_agent.redact_forms import FORMS

from homeostat.model.change import TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.rules.shape import Rule, added_lines

_MAX_LINE = 20_000
"""A longer line is read in its first and last part: minified code has no place in a small change."""

_KNOWN_FORMS: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = (
    ("a private key", ("-----BEGIN",), re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")),
    *(
        (form.kind, form.heads, re.compile(rf"\b(?:{'|'.join(map(re.escape, form.heads))}){form.tail}", re.ASCII))
        for form in FORMS
        if not form.harmless
    ),
    (
        "credentials in a URL",
        ("://",),
        re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@'\"{}$<>]{1,100}:[^\s/@'\"{}$<>]{3,100}@"),
    ),
)
"""Kind, what stands in each of that kind, and how it is written. The forms of tokens are those that redaction knows."""

_WORDS_ONLY = re.compile(r"[a-z_.-]+")
"""A name in code that happens to have the form of a token: no digit and no capital in it."""

_COMMON_WORD = re.compile(r"[a-z][a-z0-9+.-]*://[^:]*:[a-z]{1,10}@")
"""An example's address, as in documentation: nobody's password is one short word."""

_ASSIGNMENT = re.compile(
    r"""(?ix)
    [\w.-]{0,60}(?:passw(?:or)?d|passphrase|secret|api_?-?key|auth_?-?token|access_?-?token|private_?-?key|client_?-?secret)
    [\w-]{0,40} ['"]? \s{0,8} (?: : \s{0,4} [\w.\[\] |]{1,40} \s{0,4} = | := | [=:] ) \s{0,8}
    (?P<quote>['"]) (?P<value>[^'"\n]{8,400}) (?P=quote)
    """
)

_MAY_BE_CALLED = re.compile(r"(?i)pass[wp]|secret|api_?-?key|token|private_?-?key")
"""Of what `_ASSIGNMENT` takes; most lines have none of it, and are left sooner."""

_PLACEHOLDER = re.compile(
    r"(?i)^(?:change.?me|example|placeholder|dummy|fake|test|your|insert|replace|redacted|none|null|xxx|<|\$\{|\{\{|%\()"
    r"|(?:\*{4,}|\.{3}|_here$|\$\{|\{[a-z_]+\})"
)


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    for item in change.files:
        lines = list(added_lines(item))
        whole = "\n".join(line for _, line in lines)
        forms = [form for form in _KNOWN_FORMS if any(sign in whole for sign in form[1])]
        for number, line in lines:
            text = line if len(line) <= _MAX_LINE else line[: _MAX_LINE // 2] + line[-_MAX_LINE // 2 :]
            kind = _secret_kind(text, forms)
            if kind is not None:
                yield PolicyFinding(
                    rule="secrets",
                    severity=PolicySeverity.BLOCK,
                    path=item.path,
                    line=number,
                    message=f"this line seems to hold {kind}",
                    remedy="read it from the environment or a secret store; and revoke it, if it was real",
                )


def _secret_kind(line: str, forms: Sequence[tuple[str, tuple[str, ...], re.Pattern[str]]]) -> str | None:
    for kind, _, pattern in forms:
        # Every match counts: a name or an example must not hide what stands behind it in the line.
        for match in pattern.finditer(line):
            harmless = _WORDS_ONLY.fullmatch(match[0]) or _COMMON_WORD.fullmatch(match[0])
            if not harmless and not _PLACEHOLDER.search(match[0].rpartition("://")[2]):
                return kind
    if not _MAY_BE_CALLED.search(line):
        return None
    for match in _ASSIGNMENT.finditer(line):
        value = match["value"]
        if not _PLACEHOLDER.search(value) and _looks_random(value):
            return "a credential"
    return None


def _looks_random(value: str) -> bool:
    """Tell a credential from a word or sentence: no spaces, mixed kinds of characters, high entropy.

    3.0 bits a character is what short human passwords reach; identifiers and words stay below or
    are of one kind.
    """
    if " " in value or len(value) < 8:
        return False
    kinds = sum(bool(re.search(pattern, value)) for pattern in (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^A-Za-z0-9]"))
    counts = [value.count(char) for char in set(value)]
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in counts)
    has_digit = bool(re.search(r"[0-9]", value))
    return entropy >= 3.0 and (kinds >= 3 or (kinds >= 2 and has_digit and len(value) >= 12))


RULE = Rule(id="secrets", summary="No key, token or password is added", check=_check)
