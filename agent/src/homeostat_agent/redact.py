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
from typing import Callable

from homeostat_agent.redact_places import ADDRESS_RULES, LONG_QUOTE, URL_RULES, USER_TEXT_RULES, path_rules
from homeostat_agent.redact_rules import Rule
from homeostat_agent.redact_secrets import HEADER_RULES, KEY_RULES

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
    if text.isascii() and text.isprintable():
        return text
    return _TERMINAL.sub("", text.replace("\r\n", "\n")).translate(_PLAIN)


def settle(text: str, apply: Callable[[str], str], max_chars: int) -> str:
    """Apply the rules until nothing changes: so cleaning cleaned text changes nothing, by construction.

    A replacement can bring a word boundary, or the cut at `max_chars` an end, that lets another rule
    match. Two rounds are usual; text that needs more than eight is refused as a whole.
    """
    text = plain_text(text[: max_chars + _LOOK_AHEAD])
    for _ in range(_MAX_ROUNDS):
        cleaned = apply(text)[:max_chars]
        if cleaned == text:
            return cleaned
        text = cleaned
    return REFUSED[:max_chars]


class _Table:
    """The rules for one repository. Each pattern is compiled when a text first needs it: all at once take 20 ms."""

    def __init__(self, repository: str) -> None:
        self._rules = rules(repository)
        self._patterns: list[re.Pattern[str] | None] = [None] * len(self._rules)

    def apply(self, text: str) -> str:
        lowered = text.lower()
        for index, (_, source, replace, hints, at_least) in enumerate(self._rules):
            for hint in hints:
                if hint in lowered and (at_least == 1 or lowered.count(hint) >= at_least):
                    pattern = self._patterns[index]
                    if pattern is None:  # two threads may both compile it, to the same end
                        pattern = self._patterns[index] = re.compile(source, re.ASCII)
                    text = pattern.sub(replace, text)
                    break
        return text


@lru_cache(maxsize=16)
def _table(repository: str) -> _Table:
    return _Table(repository)


def clean_text(text: str, *, repository: str = "", max_chars: int = MAX_CHARS) -> str:
    """Return `text` without what is private, at most `max_chars` long. Never raises; idempotent.

    `repository` is the absolute path of the host's checkout: paths inside it are shown relative to it.
    """
    return settle(text, _table(repository).apply, max_chars)
