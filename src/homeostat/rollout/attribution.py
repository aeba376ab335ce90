"""Which of several changes answers for harm, where more than one went live in the time that is looked at.

While a change is tried on a share of the calls, its arms tell (`homeostat.rollout.canary`). Afterwards time is
the only arm there is:

1. Time in which a later change ran that was taken back since is laid to nobody's account but that one's. So is that
   of one that is on its way back, but not for longer than `GOES_BACK_WITHIN`: it may wait for a process that
   cannot be exchanged, and what goes on then is judged as if it were back. Harm is not let go on to spare a change.
2. Harm in the time in which a change was the last one is its own.
3. Harm that is seen only together with the time of later ones may be either's. The last one goes first, for
   nothing was built on it; then the rest is judged by what comes after. One at a time, never all at once.
4. Where no later one is under way any more, each of them was judged well against the time just before it, which is
   the time of this one: so this one answers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TypeVar

from homeostat.core.ids import ProposalId
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.vitals import Stretch, VitalsTick
from homeostat.rollout.observation import Continue, Judgement, Worse

_Timed = TypeVar("_Timed", VitalsTick, Stretch)
_S = ProposalState
_UNDER_WAY = frozenset({_S.APPLYING, _S.CANARY, _S.OBSERVING})
_COMES_NO_FURTHER = frozenset({_S.REVERTED, _S.FAILED})

GOES_BACK_WITHIN = timedelta(seconds=60)
"""How long an earlier change waits for a later one that is taken back; twice as long as processes are waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """A change that went live while another one was watched, from `since` on."""

    change_id: ProposalId
    title: str
    state: ProposalState
    since: datetime
    until: datetime | None
    """When it was taken back, or came no further on its way; None: it is in force, or on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """The judgement of one change in the light of the others; `first`: the one to be taken back before it, if any."""

    judgement: Judgement
    first: Overlap | None = None


def overlaps_of(proposal: Proposal, others: Iterable[Proposal], *, now: datetime) -> tuple[Overlap, ...]:
    """Return which of the others went live after this one, whatever became of them, in the order in which they did."""
    assert proposal.application is not None
    began = proposal.application.at
    seen = [_overlap(other, now) for other in others if other.id != proposal.id]
    found = [item for item in seen if item is not None]
    return tuple(sorted((item for item in found if item.since >= began), key=lambda item: item.since))


def outside(ticks: Iterable[_Timed], overlaps: Sequence[Overlap]) -> list[_Timed]:
    """Leave out the ticks, or stretches, in any part of which one of these changes ran."""
    return [
        tick
        for tick in ticks
        if not any(tick.end > item.since and (item.until is None or tick.start < item.until) for item in overlaps)
    ]


def times_outside(since: datetime, until: datetime, overlaps: Sequence[Overlap]) -> list[tuple[datetime, datetime]]:
    """Return what is left of a time, in order, when that of these changes is left out."""
    left = []
    for item in sorted(overlaps, key=lambda item: item.since):
        if since < item.since:
            left.append((since, min(item.since, until)))
        since = max(since, item.until or until)
    if since < until:
        left.append((since, until))
    return [(start, end) for start, end in left if start < end]


def attribute(whole: Judgement, own: Judgement, overlaps: Sequence[Overlap]) -> Attribution:
    """Say who answers for what was seen.

    `whole` judges all the time since this change went live, but for that of changes taken back since; `own` only the
    part of it in which no later one ran.
    """
    if not isinstance(whole, Worse) or isinstance(own, Worse):
        return Attribution(judgement=own if isinstance(own, Worse) else whole)
    turn = whose_turn(overlaps)
    return Attribution(judgement=_waits(whole, turn.why) if turn.why else whole, first=turn.first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Who goes first when harm may be a change's or a later one's: why the change waits (empty: it goes itself)."""

    why: str = ""
    first: Overlap | None = None
    """The later one that is to be taken back now, if it is not already."""


def whose_turn(overlaps: Sequence[Overlap]) -> Turn:
    """Let the last one go first, of those that are under way; `overlaps` are those that may have done the harm."""
    in_force = [item for item in overlaps if item.until is None]
    going = next((item for item in in_force if item.state is _S.REVERTING), None)
    if going is not None:
        return Turn(why=f"proposal {going.change_id} is taken back first")
    under_way = [item for item in in_force if item.state in _UNDER_WAY]
    if not under_way:
        return Turn()
    last = under_way[-1]
    return Turn(
        why=f"proposal {last.change_id} ({last.title}) went live since, and the last one goes first", first=last
    )


def _overlap(other: Proposal, now: datetime) -> Overlap | None:
    application = other.application
    if application is None:
        return None
    # What waits for a restart runs nowhere until then.
    since = application.observed_from if application.live is False else application.at
    if since is None:
        return None
    until = other.updated_at if other.state in _COMES_NO_FURTHER else None
    if other.state is _S.REVERTING and application.reverting_at is not None:
        waited_for = application.reverting_at + GOES_BACK_WITHIN
        until = waited_for if now >= waited_for else None
    return Overlap(change_id=other.id, title=other.title, state=other.state, since=since, until=until)


def _waits(whole: Judgement, why: str) -> Continue:
    values = {item.name: getattr(whole, item.name) for item in fields(whole)}
    return Continue(**{**values, "reason": f"{whole.reason}; {why}"})
