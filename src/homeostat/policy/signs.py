"""Which texts can be passed over: those without a word that any of some patterns needs.

Parsing a source and walking it costs a hundred times what looking at its words does, and most sources have none of the
words that a rule is about. The words are taken from the rule's own patterns, so that both cannot disagree.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from re import _parser  # type: ignore[attr-defined]
from typing import Any

_SHORT = 4
_WORD = re.compile(r"\w+")

_ROUNDABOUT = (
    *("getattr", "setattr", "vars", "globals", "locals", "__dict__", "__import__", "importlib", "import_module"),
    *("modules", "attrgetter", "methodcaller", "builtin"),
)
"""Words by which something is named that does not stand there."""

_HIDDEN = re.compile(r"\\[xuUN0-7]|['\"]\s+[rbfuRBFU]{0,2}['\"]|[\w+/=]{60,}")
"""Texts that are not what they look like, that are put together, or that nobody reads."""


class Signs:
    """What patterns of names, and of texts, cannot do without."""

    def __init__(
        self, names: Iterable[re.Pattern[str]], *, words: Iterable[str] = (), texts: Iterable[re.Pattern[str]] = ()
    ) -> None:
        """`words` count, too; `texts` are searched for as they are. Whatever may hide what it says has a sign."""
        found = {word for pattern in names for word in needed_words(pattern)} | {*words, *_ROUNDABOUT}
        # Nothing but how names are put together comes before a short one: `os` does not stand in `close`.
        self._short = tuple(sorted(word.lower() for word in found if len(word) < _SHORT))
        self._parts = tuple(sorted(word.lower() for word in found if len(word) >= _SHORT))
        self._texts = tuple(texts)
        self._is_one = lru_cache(maxsize=65_536)(self._look_at)

    def stand_in(self, text: str) -> bool:
        """Tell whether the text has something that one of the patterns needs; what is not sure is so."""
        if not text.isascii():
            text = unicodedata.normalize("NFKC", text)
        if any(map(self._is_one, _WORD.findall(text))):
            return True
        if "'" not in text and '"' not in text:
            return False
        return _HIDDEN.search(text) is not None or any(pattern.search(text) for pattern in self._texts)

    def _look_at(self, word: str) -> bool:
        lowered = word.lower()
        return lowered.startswith(self._short) or any(part in lowered for part in self._parts)


def needed_words(pattern: re.Pattern[str]) -> frozenset[str]:
    """Return words of which each text that the pattern matches has at least one, as a part of one of its words.

    Raises `ValueError` where there are none: such a pattern matches texts that have no sign.
    """
    found = _needed(_parser.parse(pattern.pattern, pattern.flags))
    if not found:
        raise ValueError(f"{pattern.pattern!r} matches what has no word in common")
    return found


def _needed(items: Iterable[Any]) -> frozenset[str]:
    """Return the best words that a sequence needs: those whose shortest is longest; none where it needs none."""
    choices: list[frozenset[str]] = []
    run: list[Any] = []
    for item in items:
        operation, argument = item
        name = str(operation)
        if name == "LITERAL":
            run.append(item)
            continue
        choices.append(_word_of(run))
        if name == "BRANCH":  # the letters that all branches begin with stand before them
            branches = [_needed([*run, *branch]) for branch in argument[1]]
            choices.append(frozenset().union(*branches) if all(branches) else frozenset())
        elif name == "SUBPATTERN":
            choices.append(_needed(argument[-1]))
        elif name in ("MAX_REPEAT", "MIN_REPEAT") and argument[0] > 0:
            choices.append(_needed(argument[2]))
        run = []
    choices.append(_word_of(run))
    return max((words for words in choices if words), key=lambda words: min(map(len, words)), default=frozenset())


def _word_of(run: Sequence[Any]) -> frozenset[str]:
    """Return the longest word in a run of letters."""
    words = re.findall(r"\w+", "".join(chr(argument) for _, argument in run))
    return frozenset({max(words, key=len)}) if words else frozenset()
