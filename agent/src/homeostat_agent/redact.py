"""Cleans text of what is private before it leaves the host process; the hub cleans it again by the same table.

What is replaced, in the order of `rules`:

- private keys, credentials of known forms, and values after key-like words: ``[REDACTED_KEY]``;
  ``Bearer x`` becomes ``Bearer [REDACTED]``
- URLs: scheme, host and port stay, the rest goes unless the host is allow-listed; user info always goes
- e-mail addresses: ``[EMAIL]``; internal addresses: ``192.168.x.x``; others: ``[EXTERNAL_IP]``
- absolute paths: inside the repository they become relative to it, elsewhere the first two components
  (or an allow-listed prefix) stay
- quoted free text of `LONG_QUOTE` characters or more, and ``data:`` URLs: ``[TEXT]``. A long quotation in
  a log message is nearly always what a user sent, and is not needed to find a defect

The standard library's engine is used here even where RE2 is installed: on single log lines with the
hints of the table it is the faster of the two (``bench/bench_redaction.py``), and it needs no second
engine in the host's process.
"""

from __future__ import annotations

import re
from functools import lru_cache

from homeostat_agent.redact_places import ADDRESS_RULES, LONG_QUOTE, URL_RULES, USER_TEXT_RULES, path_rules
from homeostat_agent.redact_rules import Rule
from homeostat_agent.redact_secrets import HEADER_RULES, KEY_RULES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from homeostat_agent.redact_rules import Replace

__all__ = ["LONG_QUOTE", "MAX_CHARS", "REFUSED", "Rule", "clean_text", "plain_text", "rules", "settle"]

MAX_CHARS = 16_000
"""Longer text is cut, before anything else is done with it."""

REFUSED = "[REDACTED]"
"""In place of a whole text that did not come to rest; only text made to confuse does that."""

_MAX_ROUNDS = 8
_LOOK_AHEAD = 512
"""Characters beyond the limit that are still read, so that a secret across the cut is seen whole."""


@lru_cache(maxsize=16)
def rules(repository: str = "") -> tuple[Rule, ...]:
    """Return the table, in the order in which it is applied, for a repository at this absolute path."""
    return (
        *HEADER_RULES,
        *URL_RULES,
        *KEY_RULES,
        *ADDRESS_RULES,
        *path_rules(repository.rstrip("/\\")),
        *USER_TEXT_RULES,
    )


_CONTROL = re.compile(r"[^\t\n\x20-\x7e]")
_TERMINAL = re.compile(r"\x1b\[[0-9;?]{0,30}[A-Za-z]?")
_PLAIN: dict[int, str | None] = {
    **dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)]),
    # What is not seen, or turns the direction of reading.
    **dict.fromkeys([0xAD, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF]),
    **dict.fromkeys([0x0D, 0x2028, 0x2029], "\n"),
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
    0x0A: "\n",
    0x09: "\t",
    # The two characters outside ASCII that RE2 takes for an ASCII letter in another case.
    0x017F: "s",
    0x212A: "K",
}


def plain_text(text: str) -> str:
    """Drop control, terminal and invisible characters, so that nothing hides from a rule or from a reader."""
    if text.isascii() and not _CONTROL.search(text):
        return text
    return _TERMINAL.sub("", text.replace("\r\n", "\n")).translate(_PLAIN)


def settle(text: str, apply: Callable[[str], str], max_chars: int) -> str:
    """Apply the rules until nothing changes: so cleaning cleaned text changes nothing, by construction.

    A replacement can bring a word boundary, or the cut at `max_chars` an end, that lets another rule
    match. Two rounds are usual; text that needs more than eight is refused as a whole.
    """
    if len(text) > max_chars:
        text = text[: max_chars + _LOOK_AHEAD]
    if not (text.isascii() and text.isprintable()):  # nearly all are: one call less
        text = plain_text(text)
    for _ in range(_MAX_ROUNDS):
        cleaned = apply(text)
        if len(cleaned) > max_chars:
            cleaned = cleaned[:max_chars]
        if cleaned == text:
            return cleaned
        text = cleaned
    return REFUSED[:max_chars]


_ANY_TEXT = ("",)


class _Lazy:
    """A pattern that is compiled when it is first needed: all at once take 60 ms, and most never are.

    Two threads may both compile it, to the same end.
    """

    __slots__ = ("_source", "search", "sub")

    search: Callable[[str], object]
    sub: Callable[[Replace, str], str]

    def __init__(self, source: str) -> None:
        self._source = source
        self.search = lambda text: self._compile().search(text)
        self.sub = lambda replace, text: self._compile().sub(replace, text)

    def _compile(self) -> re.Pattern[str]:
        pattern = re.compile(self._source, re.ASCII)
        self.search, self.sub = pattern.search, pattern.sub
        return pattern


class _Entry:
    """A rule for the standard library. Neighbours in the table share `gate` and `near`, so that both are asked once."""

    __slots__ = ("at_least", "gate", "near", "pattern", "replace")

    def __init__(self, rule: Rule, gate: tuple[str, ...], near: _Lazy | None) -> None:
        self.replace = rule.replace
        self.at_least = rule.at_least
        self.gate = gate
        self.near = near
        self.pattern = _Lazy(rule.quick or rule.pattern)


def _applied(entries: list[_Entry], text: str) -> str:
    """Apply each rule that has a match in `text` as it is now, in their order."""
    before, lowered = text, text.lower()
    gate: tuple[str, ...] = ()
    near: _Lazy | None = None
    gate_open = True
    near_found = True
    for entry in entries:
        if entry.gate is not gate:  # neighbours in the table share them
            gate = entry.gate
            gate_open = False
            for hint in gate:
                if hint in lowered:
                    gate_open = True
                    break
        if not gate_open or (entry.at_least > 1 and lowered.count(gate[0]) < entry.at_least):
            continue
        if entry.near is not near:
            near = entry.near
            near_found = near is None or near.search(lowered) is not None
        if not near_found:
            continue
        if text is not before and not entry.pattern.search(before):
            continue  # what an earlier rule left is for the next round: so the hub does it, too
        text = entry.pattern.sub(entry.replace, text)
    return text


@lru_cache(maxsize=16)
def _entries(repository: str) -> list[_Entry]:
    nears: dict[str, _Lazy] = {}
    return [
        _Entry(rule, rule.hints or _ANY_TEXT, nears.setdefault(rule.near, _Lazy(rule.near)) if rule.near else None)
        for rule in rules(repository)
    ]


def clean_text(text: str, *, repository: str = "", max_chars: int = MAX_CHARS) -> str:
    """Return `text` without what is private, at most `max_chars` long. Never raises; idempotent.

    `repository` is the absolute path of the host's checkout: paths inside it are shown relative to it.
    """
    entries = _entries(repository)
    return settle(text, lambda current: _applied(entries, current), max_chars)
