"""What an agent tells of its canaries (``homeostat.canary.*``): both arms of each change, in one interval."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from homeostat_agent.canary.histogram import bucket_at

from homeostat.core.errors import InvalidInput
from homeostat.core.ids import ProposalId, parse_proposal_id
from homeostat.model.canary import ArmTick, Shadowed, ShadowOutcome, ShadowTick, check_same_units
from homeostat.telemetry.otlp_json import BadRecord, Parsed, count, finite, items, objects, pairs, text

POINT_ATTRIBUTES = frozenset(
    {
        "homeostat.change", "homeostat.arm", "error.type",
        "homeostat.function", "homeostat.outcome", "homeostat.difference",
    }
)  # fmt: skip
_PREFIX = "homeostat.canary."
_KINDS = {"duration": "histogram", "failures": "sum", "at_risk": "gauge", "percent": "gauge"}
_KINDS |= {"shadowed": "sum", "shadowed_time": "sum"}
_ARMS = ("control", "canary")
_MAX_CHANGES = 100
_MAX_ERRORS = 50
_MAX_BUCKETS = 1_000
_MAX_UNITS = 10_000_000
_MAX_KIND_CHARS = 200
_MAX_SHADOWED = 200
_MAX_SHADOWED_S = 1e9
_FUNCTION = re.compile(r"[\w./<>+-]{1,200}\.py:[\w.<>]{1,200}")
_DIFFERENCE = re.compile(r"[\w .,:()<>{}\[\]-]{0,160}")
NOT_TOLD = "(not told)"
"""In the place of a difference that holds what no name or kind does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldCanary:
    """Both arms of one change, as one process counted them in the interval of the body."""

    change_id: ProposalId
    percent: int
    control: ArmTick
    canary: ArmTick
    shadow: ShadowTick | None = None

    def __post_init__(self) -> None:
        check_same_units(self.control, self.canary)


@dataclass(slots=True)
class _Arm:
    units: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    latency: dict[int, int] = field(default_factory=dict)
    at_risk: int | None = None
    shadowed_s: float = 0.0

    def count(self) -> ArmTick:
        return ArmTick(units=self.units, failures=self.failures, latency=self.latency, at_risk=self.at_risk)


def parse_canaries(body: Mapping[str, Any]) -> Parsed[ToldCanary]:
    """Read the canaries of a metrics body. A point that cannot be read is rejected, and a change of no known share."""
    arms: dict[ProposalId, tuple[_Arm, _Arm]] = {}
    found: dict[ProposalId, dict[Shadowed, int]] = {}
    shares: dict[ProposalId, int] = {}
    rejected = 0
    for name, point in _points(body):
        try:
            attributes = pairs(point.get("attributes"), allow=POINT_ATTRIBUTES)
            change_id = _change(text(attributes.get("homeostat.change")))
            if change_id not in arms and len(arms) >= _MAX_CHANGES:
                raise BadRecord("too many changes")
            both = arms.setdefault(change_id, (_Arm(), _Arm()))
            if name == "percent":
                shares[change_id] = _percent(point)
                continue
            if name == "shadowed":
                _add_shadowed(found.setdefault(change_id, {}), point, attributes)
                continue
            arm = both[_arm(attributes.get("homeostat.arm"))]
            if name == "duration":
                _add_durations(arm, point)
            elif name == "shadowed_time":
                arm.shadowed_s += _seconds(point)
            elif name == "failures":
                _add_failures(arm, point, text(attributes.get("error.type")))
            else:
                arm.at_risk = _units(point.get("asInt"))
        except BadRecord:
            rejected += 1
    told = []
    for change_id, (old, new) in arms.items():
        try:
            told.append(
                ToldCanary(
                    change_id=change_id,
                    percent=shares[change_id],
                    control=old.count(),
                    canary=new.count(),
                    shadow=_shadow(found.get(change_id), old, new),
                )
            )
        except (KeyError, InvalidInput):
            rejected += 1
    return Parsed(records=tuple(told), rejected=rejected)


def _points(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for resource, place in objects(body, "resourceMetrics", ""):
        for scope, scope_place in objects(resource, "scopeMetrics", place):
            for metric, metric_place in objects(scope, "metrics", scope_place):
                name = str(metric.get("name")).removeprefix(_PREFIX)
                kind = _KINDS.get(name) if str(metric.get("name")).startswith(_PREFIX) else None
                data = metric.get(kind) if kind is not None else None
                if data is None:
                    continue
                if not isinstance(data, dict):
                    raise InvalidInput("bad-telemetry", f"{metric_place}{kind} is not an object")
                for point in items(data, "dataPoints", f"{metric_place}{kind}."):
                    yield name, point if isinstance(point, dict) else {}


def _change(value: str) -> ProposalId:
    try:
        return parse_proposal_id(value)
    except InvalidInput:
        raise BadRecord("not a change") from None


def _percent(point: Mapping[str, Any]) -> int:
    percent = round(finite(point.get("asDouble", 0.0)))
    if not 0 <= percent <= 100:
        raise BadRecord("not a share")
    return percent


def _arm(name: object) -> int:
    if name not in _ARMS:
        raise BadRecord("not an arm")
    return _ARMS.index(str(name))


def _units(value: object) -> int:
    units = count(value)
    if units > _MAX_UNITS:
        raise BadRecord("beyond reason")
    return units


def _add_durations(arm: _Arm, point: Mapping[str, Any]) -> None:
    units = _units(point.get("count"))
    counts, bounds = point.get("bucketCounts") or [], point.get("explicitBounds") or []
    if not isinstance(counts, list) or not isinstance(bounds, list) or len(counts) != len(bounds) + 1:
        raise BadRecord("bounds and buckets do not fit")
    if len(bounds) > _MAX_BUCKETS:
        raise BadRecord("too many buckets")
    held = [count(item) for item in counts]
    # The first bucket has no lower bound and the last no upper one: the agent leaves both empty.
    if held[0] or held[-1] or sum(held) != units:
        raise BadRecord("the buckets do not add up to the count")
    indexes = [bucket_at(_positive(bound)) for bound in bounds]
    for index, number in zip(indexes, held[1:], strict=True):
        if number:
            arm.latency[index] = arm.latency.get(index, 0) + number
    arm.units += units


def _add_failures(arm: _Arm, point: Mapping[str, Any], kind: str) -> None:
    failed = _units(point.get("asInt"))
    if not failed or not kind:
        raise BadRecord("not failures")
    kind = kind[:_MAX_KIND_CHARS]
    if kind not in arm.failures and len(arm.failures) >= _MAX_ERRORS:
        kind = "(other)"
    arm.failures[kind] = arm.failures.get(kind, 0) + failed


def _add_shadowed(found: dict[Shadowed, int], point: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    calls, function = _units(point.get("asInt")), text(attributes.get("homeostat.function"))
    difference = text(attributes.get("homeostat.difference"))
    try:
        outcome = ShadowOutcome(text(attributes.get("homeostat.outcome")))
    except ValueError:
        raise BadRecord("not an outcome") from None
    if not calls or (outcome is not ShadowOutcome.SKIPPED and not _FUNCTION.fullmatch(function)):
        raise BadRecord("not a call that was compared")
    kind = Shadowed(
        function="" if outcome is ShadowOutcome.SKIPPED else function,
        outcome=outcome,
        difference=difference if _DIFFERENCE.fullmatch(difference) else NOT_TOLD,
    )
    if kind not in found and len(found) >= _MAX_SHADOWED:
        raise BadRecord("too many kinds")
    found[kind] = found.get(kind, 0) + calls


def _shadow(found: Mapping[Shadowed, int] | None, old: _Arm, new: _Arm) -> ShadowTick | None:
    return ShadowTick(calls=found, control_s=old.shadowed_s, canary_s=new.shadowed_s) if found else None


def _seconds(point: Mapping[str, Any]) -> float:
    seconds = finite(point.get("asDouble", 0.0))
    if not 0 <= seconds <= _MAX_SHADOWED_S:
        raise BadRecord("not a time")
    return seconds


def _positive(bound: object) -> float:
    number = finite(bound)
    if number <= 0:
        raise BadRecord("a duration of nothing")
    return number
