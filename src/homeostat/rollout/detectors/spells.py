"""A bad spell: the service stays below a limit, for longer than it is used to."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from homeostat.model.vitals import STRETCH_S
from homeostat.rollout.detectors.results import Fired, Holding, NoEvidence, Quiet, Result
from homeostat.rollout.detectors.service import SILENT_S, SPACING, Minute, Pool, Service
from homeostat.rollout.sequential import e_value

Measure = Callable[[Pool], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    since: datetime
    seconds: float
    """Only of what was seen: a gap neither ends a spell nor makes it longer."""

    total: Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What is measured, and below which value it is harm."""

    what: str
    measure: Measure
    floor: float
    within_s: float
    """How soon after a step of the change a spell begins that is its own."""


def judge_spell(service: Service, limit: Limit) -> Result:
    """Say whether the service is in a bad spell that the change must be taken back for.

    It is when the spell began soon enough after a step of the change, lasts longer than the grace time *and* longer
    by it than any spell of that kind in the references, and has too many bad units for a service at the limit.
    """
    settings, present = service.settings, service.present
    if not service.after:
        return NoEvidence(reason=f"too early: the first {STRETCH_S} s since the change are not over")
    if present is None or present.pool is None:
        return NoEvidence(reason=f"too few {service.what} since the change (at least {settings.min_requests} a minute)")
    spell = _open_spell(service.after, limit)
    if service.silent_s() > SILENT_S:
        gap = f"no {service.what} for {service.silent_s():.0f} s"
        return NoEvidence(reason=gap) if spell is None else Holding(since=spell.since, reason=f"{gap}, bad before")
    measured = f"{limit.what} {limit.measure(present.pool):.3f} in the last {present.seconds} s"
    told = f"{measured}{_made_of(service, present.pool)}, the limit is {limit.floor:.3f}"
    if spell is None:
        return Quiet(reason=told)
    if not service.belongs(spell.since, within_s=limit.within_s):
        return Quiet(reason=f"{told}; since {spell.since:%H:%M:%S}, too long after the change to be its own")
    usual_s = longest(service, limit)
    needed_s = settings.grace_s + usual_s
    if spell.seconds < needed_s:
        usual = f" (such spells took up to {usual_s:.0f} s before the change)" if usual_s else ""
        return Holding(since=spell.since, reason=f"{told}, for {spell.seconds:.0f} of {needed_s:.0f} s{usual}")
    units = round(spell.total.units)
    bad = min(round((1 - limit.measure(spell.total)) * spell.total.units), units)
    evidence = e_value(bad, units, tolerated=1 - limit.floor, spacing=SPACING)
    if evidence < 1 / settings.false_alarm:
        unsure = f"{told}, for {spell.seconds:.0f} s; too few {service.what} to be sure"
        return Holding(since=spell.since, reason=unsure)
    return Fired(
        since=spell.since,
        reason=f"{told}, for {spell.seconds:.0f} s: {bad} of {units} {service.what} bad",
        figures={
            "measured": limit.measure(spell.total),
            "limit": limit.floor,
            "seconds": spell.seconds,
            "units": units,
            "bad": bad,
            "e_value": evidence,
        },
    )


def _made_of(service: Service, pool: Pool) -> str:
    """Say what is bad about it: a service that is slow for another's sake shall not look like one that fails."""
    failed = f"{1 - pool.availability:.1%} of {service.what} failed"
    bound_ms = service.yardstick.slow_above_ms
    return f" ({failed})" if bound_ms is None else f" ({failed}, {1 - pool.quick:.1%} took over {bound_ms:g} ms)"


def spells(minutes: Sequence[Minute], limit: Limit) -> Iterator[Spell]:
    """Return every spell, oldest first."""
    found: Spell | None = None
    for minute in minutes:
        if minute.pool is None:
            continue
        if limit.measure(minute.pool) >= limit.floor:
            if found is not None:
                yield found
            found = None
        elif found is None:
            found = Spell(since=minute.start, seconds=STRETCH_S, total=minute.last)
        else:
            found = Spell(since=found.since, seconds=found.seconds + STRETCH_S, total=found.total + minute.last)
    if found is not None:
        yield found


def _open_spell(minutes: Sequence[Minute], limit: Limit) -> Spell | None:
    known = [minute for minute in minutes if minute.pool is not None]
    if not known or known[-1].pool is None or limit.measure(known[-1].pool) >= limit.floor:
        return None
    return list(spells(known, limit))[-1]


def longest(service: Service, limit: Limit) -> float:
    """Return how long the longest spell of that kind took before the change."""
    return max(
        (spell.seconds for past in service.past for spell in spells(past.minutes, limit)),
        default=0.0,
    )
