"""Taking telemetry in: parse, clean again, group, store; groups at the floor become findings."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from msgspec import structs

from homeostat.core.digests import Digest, digest_bytes
from homeostat.core.ids import ProcessId
from homeostat.flows.deps import Deps
from homeostat.improvement.findings import decide, may_change
from homeostat.model.actor import SYSTEM
from homeostat.model.canary import ProcessTick
from homeostat.model.finding import ErrorGroup, ErrorOccurrence, Finding, GroupStanding
from homeostat.model.ledger import EntryDraft
from homeostat.model.vitals import UNATTESTED, VitalsTick
from homeostat.ports.store import Decision
from homeostat.telemetry.otlp import CumulativeReader, parse_logs, parse_metrics
from homeostat.telemetry.otlp_canaries import parse_canaries
from homeostat.telemetry.own_word import MAX_PER_S, OwnWord
from homeostat.telemetry.template import template_of

_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    accepted: int
    rejected: int
    findings: tuple[Finding, ...] = ()
    """Findings that are new, or were resolved and are open again."""

    tried: bool = False
    """Whether something was counted of a canary."""


def ingest_logs(deps: Deps, body: Mapping[str, Any], *, source: str, process_id: ProcessId | None = None) -> Ingested:
    """Store the error records of one OTLP logs request. Durable when it returns, and counted once however often sent.

    `source` is the id of the actor who sent it, or `AGENTS`: whose error groups make room when there are too many.
    `process_id` is the one whose key an agent proved: its records are its own, whatever they say.
    """
    parsed = parse_logs(body, now=deps.clock.now(), repository=deps.repository_path)
    told = parsed.records
    if process_id is not None:
        told = tuple(structs.replace(item, process_id=process_id) for item in told)
    keyed = []
    for occurrence in _occurrences(deps, told):
        key, template = template_of(occurrence)
        keyed.append((key, template, occurrence))
    if not keyed:
        return Ingested(accepted=len(parsed.records), rejected=parsed.rejected)
    floor, now = deps.settings.findings.floor, deps.clock.now()

    def wanted(standing: GroupStanding) -> bool:
        return may_change(standing, floor=floor)

    def decided(group: ErrorGroup, existing: Finding | None) -> Decision:
        finding = decide(group, floor=floor, now=now, existing=existing)
        return None if finding is None else (finding, _opened(finding))

    done = deps.findings.record(keyed, source=source, batch=_batch_of(source, told), wanted=wanted, decide=decided)
    return Ingested(accepted=len(parsed.records), rejected=parsed.rejected, findings=done.findings)


def _opened(finding: Finding) -> EntryDraft:
    return EntryDraft(
        kind="finding.opened",
        actor=SYSTEM.id,
        subject=finding.id,
        body={"to": finding.state.value, "template": finding.group.key, "count": finding.group.count},
    )


def ingest_metrics(deps: Deps, body: Mapping[str, Any], *, reader: CumulativeReader) -> Ingested:
    """Store the vitals of one OTLP metrics request of anybody with a token: shown, and evidence of nothing."""
    with _one_at_a_time:  # the reader of cumulative counters is for one thread at a time
        parsed = parse_metrics(body, reader=reader, now=deps.clock.now())
    if parsed.records:
        deps.vitals.record_ticks([_unattested(tick) for tick in _ticks(deps, parsed.records)])
    return Ingested(accepted=len(parsed.records), rejected=parsed.rejected)


def ingest_vitals(deps: Deps, body: Mapping[str, Any], *, process_id: ProcessId, words: OwnWord) -> Ingested:
    """Store the vitals that an agent told, which proved the key of this process: they count as its own, only."""
    with _one_at_a_time:
        parsed = parse_metrics(body, reader=words.reader, now=deps.clock.now())
        admitted = words.admit(process_id, _ticks(deps, parsed.records), now=deps.clock.now())
    if admitted:
        deps.vitals.record_ticks(admitted)
    tried = len(admitted) == 1 and _keep_canaries(deps, body, admitted[0])
    refused = len(parsed.records) - len(admitted)
    return Ingested(accepted=len(admitted), rejected=parsed.rejected + refused, tried=tried)


def _keep_canaries(deps: Deps, body: Mapping[str, Any], tick: VitalsTick) -> bool:
    """Store what was counted of canaries in the interval of this tick, which is believed: theirs is the same one."""
    most = MAX_PER_S * max((tick.end - tick.start).total_seconds(), 1.0)
    told = [
        ProcessTick(
            change_id=item.change_id,
            process_id=tick.process_id,
            start=tick.start,
            end=tick.end,
            percent=item.percent,
            control=item.control,
            canary=item.canary,
            shadow=item.shadow,
        )
        for item in parse_canaries(body).records
        if (item.percent or item.shadow is not None) and item.control.units + item.canary.units <= most
    ]
    if told:
        deps.canaries.record(told)
    return bool(told)


def _batch_of(source: str, records: Sequence[ErrorOccurrence]) -> Digest | None:
    """Return what a repeated request is known by; None where like errors may have arisen twice.

    Times in whole seconds, as some senders have them, do not tell a repetition from a second error. A
    record that came without its time has that of receipt, and so is never taken for a repetition.
    """
    if not any(record.at.microsecond for record in records):
        return None
    known_by = [
        (record.process_id, record.at, record.severity, record.logger, record.exception_type, record.message)
        for record in records
    ]
    return digest_bytes(msgspec.json.encode((source, known_by)))


def _occurrences(deps: Deps, told: Sequence[ErrorOccurrence]) -> Sequence[ErrorOccurrence]:
    """Bring what was told to the hub's time, which does not go back when the machine's clock is set back."""
    lead = deps.clock.lead()
    if not lead:
        return told
    now = deps.clock.now()
    return [structs.replace(item, at=min(item.at + lead, now)) for item in told]


def _ticks(deps: Deps, told: Sequence[VitalsTick]) -> Sequence[VitalsTick]:
    lead = deps.clock.lead()
    if not lead:
        return told
    now = deps.clock.now()
    ends = [min(tick.end + lead, now) for tick in told]
    return [replace(tick, start=end - (tick.end - tick.start), end=end) for tick, end in zip(told, ends, strict=True)]


def _unattested(tick: VitalsTick) -> VitalsTick:
    return replace(tick, process_id=UNATTESTED + tick.process_id)
