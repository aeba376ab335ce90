"""When a save is over: editors write in several steps, and a person saves several files as one.

Pure: whoever watches tells the stamps of all files at each look, and is told which files belong together,
once nothing more comes. Contents are not looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from homeostat.model.reload import Stamp

SETTLE_S = 0.03
"""How long nothing may change before a save is over."""

SETTLE_GONE_S = 0.4
"""The same for a file that is not there or is empty: most editors write it in the next moment."""

MOST_S = 1.5
"""How long a save may go on; then what lies there is taken, as somebody who writes without end is not waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """What was seen of the files so far. None: not there, or not a file."""

    seen: Mapping[str, Stamp | None] = field(default_factory=dict)
    changed_s: Mapping[str, float] = field(default_factory=dict)
    """Files of the save under way → when they changed last, as far as was seen."""

    since_s: float = 0.0
    """When the save under way was first seen."""

    @property
    def under_way(self) -> bool:
        return bool(self.changed_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """Files that were saved together. Which of them differ in content is not known yet."""

    files: frozenset[str]
    since_s: float
    """When it was first seen."""


def watch(state: Gathering, stamps: Mapping[str, Stamp | None]) -> Gathering:
    """Begin to watch files, as they are now. Of those that are watched already nothing changes."""
    return Gathering(seen={**stamps, **state.seen}, changed_s=state.changed_s, since_s=state.since_s)


def look(state: Gathering, stamps: Mapping[str, Stamp | None], *, now_s: float) -> tuple[Gathering, Save | None]:
    """Take in how the files are now; return the save, once it is over. `now_s` never goes back.

    Files in `stamps` that are not watched begin to be; watched files that are not in it are no longer.
    """
    changed = {path: at_s for path, at_s in state.changed_s.items() if path in stamps}
    changed |= {path: now_s for path, stamp in stamps.items() if path in state.seen and stamp != state.seen[path]}
    if not changed:
        return Gathering(seen=stamps), None
    since_s = state.since_s if state.under_way else now_s
    over = all(now_s - at_s >= _settles_s(stamps[path]) for path, at_s in changed.items())
    if not over and now_s - since_s < MOST_S:
        return Gathering(seen=stamps, changed_s=changed, since_s=since_s), None
    return Gathering(seen=stamps), Save(files=frozenset(changed), since_s=since_s)


def _settles_s(stamp: Stamp | None) -> float:
    return SETTLE_GONE_S if stamp is None or stamp.size == 0 else SETTLE_S
