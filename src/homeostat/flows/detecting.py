"""What the detectors over the whole service say of a change that is tried or watched.

Nothing is kept between two looks that is not derived anew when it is lost: since when the service fares worse follows
from its stored vitals.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from homeostat.core.canonical_json import JsonValue
from homeostat.flows.deps import Deps
from homeostat.flows.transition import moved_since
from homeostat.model.proposal import Application, Proposal, ProposalState
from homeostat.model.vitals import STRETCH_S, Stretch, stretch_start
from homeostat.rollout.attribution import Overlap, outside, overlaps_of
from homeostat.rollout.detectors import Detection, View, detect
from homeostat.rollout.detectors.errors import HOUR_S
from homeostat.rollout.detectors.heeding import at_the_end, attribute_harm, facts_of, first_to_go
from homeostat.rollout.detectors.queries import judge_query

_DAY = timedelta(days=1)
_MARGIN = timedelta(minutes=30)
LOOKS_BACK = _DAY + _MARGIN
"""How far before a change its detectors look."""

_LATEST_SPELL = timedelta(hours=1)
"""How long after harm can begin it may still be found out. What was not by then is for a person to decide."""

_LATE = timedelta(seconds=3)
"""Processes tell of a second one or two later: a stretch counts only then."""

_ASKED_BEFORE_S = 60.0
_CHANGED_CODE = frozenset({ProposalState.OBSERVING, ProposalState.IMPLEMENTED, ProposalState.REVERTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLook:
    """What every detector says, in order."""

    detections: tuple[Detection, ...] = ()
    first: Overlap | None = None
    """A later change that is taken back before this one, as nobody can tell which of both does harm."""

    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    """What the ledger keeps of the detector that fired, whoever answers for it; empty where none did."""


def look_at_service(deps: Deps, proposal: Proposal) -> ServiceLook:
    """Let every detector look at the service, before this change and since, without acting on what it says."""
    application = proposal.application
    assert application is not None
    settings = deps.settings.detectors
    if not settings.enabled:
        return ServiceLook()
    reach_s = min(max(HOUR_S, deps.settings.observation.window_s), _DAY.total_seconds())
    moved = moved_since(deps, application.at - timedelta(seconds=HOUR_S))
    overlaps = overlaps_of(proposal, moved, now=deps.clock.now())
    settled = settled_since(proposal, moved)
    steps = tuple(steps_of(application))
    # A change may be held for weeks: what begins then is not its doing, and nobody looks at weeks every time.
    last = steps[-1] + timedelta(seconds=max(reach_s, settings.slo_within_s)) + _LATEST_SPELL
    now = min(deps.clock.now(), last)
    # Between the ends of two stretches nothing is new but the time.
    evidence = (proposal.id, steps, stretch_start(now - _LATE), settled, overlaps)
    said = (
        *deps.judgings.said(
            evidence,
            lambda: detect(
                _view(deps, application, steps, overlaps, settled=settled, reach_s=reach_s, now=now), settings
            ),
        ),
        *_measured(deps, steps, reach_s=reach_s, now=now),
    )
    if deps.clock.now() > last:
        said = tuple(at_the_end(item, last) for item in said)
    return ServiceLook(
        detections=tuple(Detection(name=item.name, result=attribute_harm(item.result, overlaps)) for item in said),
        first=first_to_go(said, overlaps),
        facts=facts_of(said),
    )


def _measured(deps: Deps, steps: Sequence[datetime], *, reach_s: float, now: datetime) -> Iterator[Detection]:
    """Ask the configured queries, from some time before the change on: what was so then is not its doing."""
    until = steps[-1] + timedelta(seconds=reach_s)
    for query in deps.settings.detectors.prometheus:
        since = steps[0] - timedelta(seconds=max(query.for_s, _ASKED_BEFORE_S))
        answer = deps.measures.answer(query, since=since, until=now)
        result = judge_query(query, answer, began_at=steps[0], until=until)
        yield Detection(name=f"prometheus:{query.name}", result=result)


def settled_since(proposal: Proposal, moved: Iterable[Proposal]) -> datetime | None:
    """Return when the last other change before this one had settled: what was before says nothing of its base."""
    assert proposal.application is not None
    times = []
    for other in moved:
        if other.id == proposal.id or other.application is None or other.state not in _CHANGED_CODE:
            continue
        settled = other.updated_at if other.state is ProposalState.REVERTED else other.application.observed_from
        if settled is not None and settled < proposal.application.at:
            times.append(settled)
    return max(times, default=None)


def _view(
    deps: Deps,
    application: Application,
    steps: Sequence[datetime],
    overlaps: Sequence[Overlap],
    *,
    settled: datetime | None,
    reach_s: float,
    now: datetime,
) -> View:
    hour = timedelta(seconds=HOUR_S)
    day_until = min(steps[-1] + timedelta(seconds=reach_s) - _DAY + _MARGIN, application.at - hour)
    after = deps.vitals.stretches(since=steps[0], until=now - _LATE)
    return View(
        before=_before(deps, application, settled),
        day_ago=deps.vitals.stretches(since=steps[0] - LOOKS_BACK, until=day_until),
        # The time of a change that was taken back since is laid to nobody else's account.
        after=outside(after, [item for item in overlaps if item.until is not None]),
        steps=steps,
        now=now,
        reach_s=reach_s,
    )


def _before(deps: Deps, application: Application, settled: datetime | None) -> Sequence[Stretch]:
    """Return the hour before, of the code that ran last; also of what ran before it, where that alone is too little."""
    since = application.at - timedelta(seconds=HOUR_S)
    found = deps.vitals.stretches(since=since, until=application.at)
    own = [item for item in found if settled is None or item.start >= settled]
    return own if len(own) * STRETCH_S >= deps.settings.detectors.baseline_s else found


def steps_of(application: Application) -> list[datetime]:
    """Return when calls began to run the change, and each time that more did."""
    canary = application.canary
    times = {application.observed_from}
    if canary is not None and canary.percent:
        times |= {canary.began_at, *canary.widened_at}
    return sorted(time for time in times if time is not None) or [application.at]
