"""Which error groups go when there are too many: never those of one sender because another sends much.

Two rules, the same one twice. Of the sources, the one with the most groups gives first; within a
source, the place in code with the most groups. So a source (or a logging line that puts a stranger's
words into its message) that makes up thousands of unlike errors pushes out its own, and whoever has
few keeps them. Within one place the group that was not seen for longest goes first.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from homeostat.core.digests import Digest
from homeostat.core.limits import MAX_ERROR_TEMPLATES
from homeostat.model.finding import AGENTS

_ROOM = MAX_ERROR_TEMPLATES // 20
"""How much room is made at once, so that a flood pays for the choice once in so many new groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is looked at of one group."""

    key: Digest
    source: str
    """Whose token or key reported it."""

    place: str
    """Where in the code it arises, or its type where that is not known."""

    last_us: int


def choose_to_go(groups: Iterable[Standing], surplus: int) -> list[Digest]:
    """Return the `surplus` groups that go, those that go first in front.

    Taking always from the largest is the same as numbering each one's groups, the one that it would
    keep longest first, and taking the highest numbers.
    """
    newest_first = sorted(groups, key=lambda item: (-item.last_us, item.key))
    places: Counter[tuple[str, str]] = Counter()
    in_place: list[tuple[int, Standing]] = []
    for item in newest_first:
        in_place.append((places[item.source, item.place], item))
        places[item.source, item.place] += 1
    in_place.sort(key=lambda pair: pair[0])  # stable: within a number, newest first
    sources: Counter[str] = Counter()
    in_source: list[tuple[int, Standing]] = []
    for _, item in in_place:
        in_source.append((sources[item.source], item))
        sources[item.source] += 1
    in_source.sort(key=lambda pair: pair[0])
    return [item.key for _, item in in_source[::-1][: max(surplus, 0)]]


def surplus_of(groups: int) -> int:
    """Return how many of so many groups go: none up to `MAX_ERROR_TEMPLATES`, then some more than must."""
    return groups - MAX_ERROR_TEMPLATES + _ROOM if groups > MAX_ERROR_TEMPLATES else 0


def place_of(path: str, function: str, exception_type: str) -> str:
    """Return the place that a group stands for."""
    return f"{path}:{function}" if path else f":{exception_type}"


def source_of_group(known: str, reporting: str) -> str:
    """Return whose a known group is: its first reporter's, until an agent that proved its key reports it."""
    return AGENTS if AGENTS in (known, reporting) else known or reporting
