"""Cleans text a second time, in the hub: whatever a sender did or left undone, nothing raw is stored.

The table is the agent's own (`homeostat_agent.redact.rules`), so both ends agree on every text. RE2
first says in one linear pass which rules can match at all; most of what an agent sends needs none. The
texts of a request are cleaned in groups: those in which the same rules match are one text to these
rules, and to the look at what is left.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat

from homeostat_agent.redact import clean_text, rules, settle

from homeostat.core.limits import MAX_TEXT_CHARS

try:
    import re2
except ImportError:  # no wheel for musl, for one
    re2 = None

HAS_RE2 = re2 is not None
"""False: the standard library's engine alone, to the same result at about a third of the speed."""

TOGETHER = frozenset({"url", "random", "email", "ipv6", "ipv6-full", "ipv4", "ipv4-dashed", "path"})
"""Rules that see of a text's surroundings no more than whether a word begins or ends there.

To them, and to the screen of all rules, `_EDGE` between two texts is what the end of a text is.
"""

_EDGE = "\x1e"
"""Neither in any printable text nor in any match; to every rule a blank, as good as a beginning."""

_NEIGHBOURS = 8
"""Texts that are looked at together first."""

_SET_MEMORY_BYTES = 64 << 20


class _Screen:
    """The table, with RE2 to say which of its rules have a match."""

    def __init__(self) -> None:
        options = re2.Options()
        options.max_mem = _SET_MEMORY_BYTES
        options.never_capture = True
        screen = re2.Set.SearchSet(options)
        for rule in rules():
            screen.Add(rule.pattern)
        screen.Compile()
        # The binding's own set: the wrapper around it takes half as long again as RE2 does for a line.
        self._match: Callable[[bytes], list[int]] = getattr(screen, "_set", screen).Match
        self._table = [(re.compile(rule.quick or rule.pattern, re.ASCII).sub, rule.replace) for rule in rules()]
        self._together = frozenset(place for place, rule in enumerate(rules()) if rule.name in TOGETHER)

    def clean(self, text: str, max_chars: int) -> str:
        return settle(text, self._apply, max_chars)

    def clean_all(self, texts: Sequence[str], max_chars: int) -> list[str]:
        """Return what `clean` would for each, at less cost."""
        known = dict.fromkeys(texts, "")
        whole = "".join(known)
        are_plain = whole.isascii() and whole.isprintable()  # nearly all batches are: one look for all
        alike: dict[tuple[int, ...], list[str]] = {}
        plain: list[str] = []
        for text in known:
            if len(text) <= max_chars and (are_plain or (text.isascii() and text.isprintable())):
                plain.append(text)
            else:
                known[text] = self.clean(text, max_chars)
        for at in range(0, len(plain), _NEIGHBOURS):
            for text, places in self._found_in(plain[at : at + _NEIGHBOURS]):
                if not places:
                    known[text] = text
                elif self._together.issuperset(places):
                    alike.setdefault(places, []).append(text)
                else:
                    known[text] = self.clean(text, max_chars)
        for places, members in alike.items():
            known.update(zip(members, self._clean_alike(places, members, max_chars), strict=True))
        return [known[text] for text in texts]

    def _found_in(self, texts: Sequence[str]) -> Iterable[tuple[str, tuple[int, ...]]]:
        """Say of each text which rules have a match in it; or one more, which then changes nothing.

        Neighbours are mostly of one kind, so that one look often does for all of them.
        """
        match = self._match
        found = match(_EDGE.join(texts).encode())
        if len(found) < 2:  # a rule alone leaves as it is what it does not match; two may need their rounds
            return zip(texts, repeat(tuple(found)))
        return [(text, tuple(sorted(match(text.encode())))) for text in texts]

    def _clean_alike(self, places: Sequence[int], texts: Sequence[str], max_chars: int) -> list[str]:
        """Clean texts in which the same rules match, all of them of those that may be applied together."""
        joined = self._substitute(places, _EDGE.join(texts))
        left = sorted(self._match(joined.encode()))
        is_at_rest = self._together.issuperset(left) and self._substitute(left, joined) == joined
        cleaned = joined.split(_EDGE)
        for at, text in enumerate(cleaned):
            # What the first round brought to rest is as it shall be; all else takes the long way.
            if len(text) > max_chars or not (is_at_rest or self._apply(text) == text):
                cleaned[at] = self.clean(texts[at], max_chars)
        return cleaned

    def _apply(self, text: str) -> str:
        found = self._match(text.encode())
        if not found:
            return text
        found.sort()
        return self._substitute(found, text)

    def _substitute(self, places: Sequence[int], text: str) -> str:
        for place in places:
            substitute, replace = self._table[place]
            text = substitute(replace, text)
        return text


_screen = _Screen() if HAS_RE2 else None


def clean(text: str, *, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return `text` without what is private, at most `max_chars` long; equal to `clean_text`. Idempotent."""
    return clean_text(text, max_chars=max_chars) if _screen is None else _screen.clean(text, max_chars)


def clean_all(texts: Sequence[str], *, max_chars: int = MAX_TEXT_CHARS) -> list[str]:
    """Clean a batch, each as `clean` does; texts that occur in it many times are cleaned once."""
    if _screen is not None:
        return _screen.clean_all(texts, max_chars)
    known = {text: clean_text(text, max_chars=max_chars) for text in dict.fromkeys(texts)}
    return [known[text] for text in texts]
