"""Whole rows for tests: valid, small, and different only where the test says so."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import structs

from homeostat.core.canonical_json import JsonValue
from homeostat.core.digests import Digest, digest_bytes
from homeostat.core.ids import ActorId, CommitId, FindingId, ProposalId
from homeostat.model.canary import ArmTick, ProcessTick, Shadowed, ShadowOutcome, ShadowTick
from homeostat.model.finding import CodeLocation, ErrorGroup, ErrorOccurrence, Finding, FindingState
from homeostat.model.ledger import EntryDraft
from homeostat.model.proposal import Category, ChangeRef, Proposal, ProposalState, Severity
from homeostat.model.vitals import LATENCY_BOUNDS_MS, RouteVitals, VitalsTick

START = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
PERSON = ActorId("person-0123456789ab")


class SteppingClock:
    """A clock that a test owns: it moves by `step` with every look, and only then."""

    def __init__(self, start: datetime = START, *, step: timedelta = timedelta(milliseconds=1)) -> None:
        self._now = start
        self._step = step

    def now(self) -> datetime:
        self._now += self._step
        return self._now

    def monotonic_s(self) -> float:
        return (self._now - START).total_seconds()

    def lead(self) -> timedelta:
        return timedelta(0)

    def move(self, by: timedelta) -> None:
        """Move by any amount, back too."""
        self._now += by


class MachineTime:
    """The clocks of one machine: time passes when a test says so, and the clock on the wall can be set."""

    def __init__(self, start: datetime = START) -> None:
        self._wall = start
        self._passed_s = 0.0

    def wall(self) -> datetime:
        return self._wall

    def monotonic_s(self) -> float:
        return self._passed_s

    def spend(self, seconds: float) -> None:
        """Let time pass."""
        self._passed_s += seconds
        self._wall += timedelta(seconds=seconds)

    def set_by(self, by: timedelta) -> None:
        """Set the clock on the wall; no time passes."""
        self._wall += by


def example_proposal(number: int = 1, **changes: Any) -> Proposal:
    """Return a pending proposal; different numbers differ in id, diff and time."""
    diff = f"--- a/app.py\n+++ b/app.py\n@@ -1 +1 @@\n-x = 0\n+x = {number}\n"
    policy = digest_bytes(b"policy")
    base = CommitId("a" * 40)
    diff_digest = digest_bytes(diff.encode())
    proposal = Proposal(
        id=ProposalId(f"{number:08x}-1111-4222-8333-444455556666"),
        version=1,
        revision=1,
        title=f"Change number {number}",
        rationale="It is wrong.",
        category=Category.BUGFIX,
        severity=Severity.MEDIUM,
        author="a-bot",
        submitted_by=PERSON,
        created_at=START + timedelta(seconds=number),
        updated_at=START + timedelta(seconds=number),
        state=ProposalState.PENDING,
        state_reason="handed in",
        change=ChangeRef(
            base_commit=base,
            diff_digest=diff_digest,
            policy_digest=policy,
            change_digest=digest_bytes(f"{base}\n{diff_digest}\n{policy}\n".encode()),
        ),
        diff=diff,
        files=("app.py",),
    )
    return replace(proposal, **changes)


def example_entry(
    kind: str = "proposal.submitted",
    *,
    subject: str = "s-1",
    actor: ActorId = PERSON,
    body: Mapping[str, JsonValue] | None = None,
) -> EntryDraft:
    return EntryDraft(kind=kind, actor=actor, subject=subject, body=body or {})


def move_entry(proposal: Proposal, event: str, to: ProposalState, **facts: JsonValue) -> EntryDraft:
    """Return the entry of a move of this row, as the flows write it: `proposal` as it was read."""
    return EntryDraft(
        kind=f"proposal.{event}",
        actor=PERSON,
        subject=proposal.id,
        body={
            "from": "" if event == "submitted" else proposal.state.value,
            "to": to.value,
            "version": proposal.version + (event != "submitted"),
            "change_digest": proposal.change.change_digest,
            "diff_digest": proposal.change.diff_digest,
            **facts,
        },
    )


def example_occurrence(seconds: float = 0.0, **changes: Any) -> ErrorOccurrence:
    """Return an error that occurred so many seconds after `START`."""
    occurrence = ErrorOccurrence(
        at=START + timedelta(seconds=seconds),
        severity="error",
        logger="app.orders",
        exception_type="builtins.KeyError",
        message="no order <number>",
        location=CodeLocation(path="app/orders.py", function="total", line=12),
        commit=CommitId("a" * 40),
        process_id="11111111-1111-4111-8111-111111111111",
        trace=(CodeLocation(path="app/orders.py", function="total", line=12),),
        route="/orders/{id}",
    )
    return structs.replace(occurrence, **changes)


def group_key(name: str) -> Digest:
    return digest_bytes(name.encode())


def example_finding(group: ErrorGroup, **changes: Any) -> Finding:
    finding = Finding(
        id=FindingId("f-" + group.key.removeprefix("sha256:")[:16]),
        state=FindingState.OPEN,
        title="KeyError in total",
        severity="error",
        group=group,
        found_at=START,
    )
    return replace(finding, **changes)


def example_canary_tick(seconds: float, *, failed: int = 0, **changes: Any) -> ProcessTick:
    """Return a canary's tick of one second that ended so many seconds after `START`."""
    end = START + timedelta(seconds=seconds)
    tick = ProcessTick(
        change_id=ProposalId("00000000-0000-4000-8000-000000000001"),
        process_id="11111111-1111-4111-8111-111111111111",
        start=end - timedelta(seconds=1),
        end=end,
        percent=10,
        control=ArmTick(units=90, failures={"KeyError": 1}, latency={-95: 80, 12: 10}),
        canary=ArmTick(units=10, failures={"KeyError": failed} if failed else {}, latency={-95: 10}),
    )
    return replace(tick, **changes)


def example_shadow_tick() -> ShadowTick:
    """Return what was found by comparing calls, of three kinds."""
    total, tax = "shop/prices.py:total", "shop/prices.py:Cart.tax"
    calls = {
        Shadowed(function=total, outcome=ShadowOutcome.SAME): 40,
        Shadowed(function=tax, outcome=ShadowOutcome.RESULT, difference="[].rate: Decimal became float"): 2,
        Shadowed(function="", outcome=ShadowOutcome.SKIPPED): 1000,
    }
    return ShadowTick(calls=calls, control_s=0.25, canary_s=0.125)


def example_tick(seconds: float, **changes: Any) -> VitalsTick:
    """Return a tick of one second that ended so many seconds after `START`."""
    end = START + timedelta(seconds=seconds)
    buckets = (1,) * (len(LATENCY_BOUNDS_MS) + 1)
    tick = VitalsTick(
        process_id="11111111-1111-4111-8111-111111111111",
        start=end - timedelta(seconds=1),
        end=end,
        routes={
            "/orders/{id}": RouteVitals(requests=14, errors=2, latency_ms_sum=103.25, latency_ms_buckets=buckets),
            "": RouteVitals(requests=0, errors=0, latency_ms_sum=0.0, latency_ms_buckets=buckets),
        },
        errors_logged=2,
        loop_lag_ms_max=1.5,
        cpu_percent=None,
        memory_bytes=50_000_000,
        dropped=3,
        generation=1,
    )
    return replace(tick, **changes)
