"""What follows from what the detectors say: for a canary's course, and for the judgement of a change that is live."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta

from homeostat.core.canonical_json import JsonValue
from homeostat.model.vitals import STRETCH_S
from homeostat.rollout.attribution import Overlap, whose_turn
from homeostat.rollout.course import Ask, Course, GiveBack, Pass, Wait, Widen
from homeostat.rollout.detectors.results import Detection, Fired, Holding, NoEvidence, Result
from homeostat.rollout.observation import Continue, Hold, Judgement, Well, Worse

_BLUR = timedelta(seconds=2 * STRETCH_S)
"""Harm may have begun so much later than the stretch in which it is first seen."""


def at_the_end(item: Detection, last: datetime) -> Detection:
    """Return what a detector said when the time ended in which harm may be the change's, as it stands ever after.

    What was open then no evidence will settle any more: it becomes a question to a person, never quiet.
    """
    match item.result:
        case Holding(reason=reason):
            told = f"{reason}; still so when its time to be found out ended ({last:%H:%M:%S})"
            return replace(item, result=NoEvidence(reason=told, asks=True))
        case _:
            return item


def attribute_harm(result: Result, overlaps: Sequence[Overlap]) -> Result:
    """Let a change wait where a later one may have done the harm: as `homeostat.rollout.attribution` has it."""
    if not isinstance(result, Fired):
        return result
    why = whose_turn(_live_by(overlaps, result.since)).why
    return Holding(since=result.since, reason=f"{result.reason}; {why}") if why else result


def first_to_go(said: Sequence[Detection], overlaps: Sequence[Overlap]) -> Overlap | None:
    """Return the later change that is to be taken back now, in the place of the one that detectors fire for."""
    fired = first_fired(said)
    if fired is None or not isinstance(fired.result, Fired):
        return None
    return whose_turn(_live_by(overlaps, fired.result.since)).first


def _live_by(overlaps: Sequence[Overlap], since: datetime) -> list[Overlap]:
    return [item for item in overlaps if item.since <= since + _BLUR]


def heed_in_canary(course: Course, said: Sequence[Detection]) -> Course:
    """Return the course of a canary as the detectors leave it. They never let one pass that would not."""
    fired = first_fired(said)
    if fired is not None:
        return GiveBack(reason=_told(fired))
    if isinstance(course, GiveBack | Ask):
        return course
    asking, waiting = _asking(said), _waiting(said)
    if isinstance(course, Pass | Widen):
        if waiting:
            return Wait(reason=f"{_told(waiting[0])}; else {course.reason}")
        if asking:
            return Ask(reason=f"{_told(asking[0])}; {course.reason}")
    return course


def heed_when_live(judgement: Judgement, said: Sequence[Detection]) -> Judgement:
    """Return the judgement of a live change as the detectors leave it. They never call one well that is not."""
    fired = first_fired(said)
    if isinstance(judgement, Worse):
        return judgement
    if fired is not None:
        return _become(judgement, Worse, _told(fired))
    held = [*_waiting(said), *_asking(said)]
    if held and isinstance(judgement, Well):
        return _become(judgement, Hold, _told(held[0]))
    if held and isinstance(judgement, Continue) and isinstance(held[0].result, Holding):
        return replace(judgement, reason=f"{judgement.reason}; {_told(held[0])}")
    return judgement


def first_fired(said: Sequence[Detection]) -> Detection | None:
    return next((item for item in said if isinstance(item.result, Fired)), None)


def facts_of(said: Sequence[Detection]) -> Mapping[str, JsonValue]:
    """Return what the ledger keeps of the detector that takes a change back; nothing where none does."""
    fired = first_fired(said)
    if fired is None or not isinstance(fired.result, Fired):
        return {}
    # Canonical JSON has no floats: figures go as they are read.
    figures: dict[str, JsonValue] = {name: f"{value:.6g}" for name, value in fired.result.figures.items()}
    since = fired.result.since.isoformat(timespec="milliseconds")
    return {"detector": {"name": fired.name, "since": since, "reason": fired.result.reason, "figures": figures}}


def _become(judgement: Judgement, kind: type[Worse] | type[Hold], reason: str) -> Judgement:
    values = {item.name: getattr(judgement, item.name) for item in fields(judgement)}
    return kind(**{**values, "reason": f"{reason}; {judgement.reason}"})


def _asking(said: Sequence[Detection]) -> list[Detection]:
    return [item for item in said if isinstance(item.result, NoEvidence) and item.result.asks]


def _waiting(said: Sequence[Detection]) -> list[Detection]:
    return [item for item in said if isinstance(item.result, Holding)]


def _told(item: Detection) -> str:
    return f"{item.name}: {item.result.reason}"
