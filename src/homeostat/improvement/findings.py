"""When a group of errors becomes a finding, and what a person is told of it.

The floor: three occurrences (the setting `findings.floor`), or one that is critical. Warnings are not
errors: ten times as many are needed, so that a chatty library does not fill the list. A group has the
severity of the worst of its occurrences.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from homeostat.core.digests import Digest, short
from homeostat.core.ids import FindingId
from homeostat.model.finding import CodeLocation, ErrorGroup, ErrorOccurrence, Finding, FindingState, GroupStanding
from homeostat.model.proposal import Proposal, ProposalState

WARNING_FACTOR = 10
"""A warning weighs a tenth of an error."""

_MAY_HAVE_DONE_IT = frozenset(
    {
        ProposalState.CANARY,
        ProposalState.OBSERVING,
        ProposalState.AWAITING_RESTART,
        ProposalState.REVERTING,
        ProposalState.REVERTED,
    }
)

MAX_TITLE_CHARS = 120
_MAX_ROUTES_SHOWN = 5
_MAX_SAMPLE_CHARS = 300


def finding_id_of(key: Digest) -> FindingId:
    """Return the id of the finding that this group makes, or would make."""
    return FindingId("f-" + key.removeprefix("sha256:")[:16])


def may_change(standing: GroupStanding, *, floor: int) -> bool:
    """Tell whether `decide` would return a finding for a group that stands like this."""
    match standing.finding_state:
        case None:
            return _at_floor(standing.severity, standing.count, floor)
        case FindingState.RESOLVED:
            return True
        case _:
            return standing.finding_severity != standing.severity


def decide(group: ErrorGroup, *, floor: int, now: datetime, existing: Finding | None) -> Finding | None:
    """Return the finding as it is to be stored now, or None when there is nothing new to store.

    To be asked after occurrences of the group were recorded. New at the floor; open again, with `found_at`
    now, when the error of a resolved one came back (one occurrence is enough: it was said to be gone); with
    the group's severity when that rose. `existing` is the group's finding as it is stored.
    """
    if not may_change(standing_of(group, existing), floor=floor):
        return None
    if existing is None:
        return Finding(
            id=finding_id_of(group.key),
            state=FindingState.OPEN,
            title=title(group),
            severity=group.severity,
            group=group,
            found_at=now,
        )
    if existing.state is FindingState.RESOLVED:
        return replace(existing, state=FindingState.OPEN, severity=group.severity, group=group, found_at=now)
    return replace(existing, severity=group.severity, group=group)


def standing_of(group: ErrorGroup, existing: Finding | None) -> GroupStanding:
    """Return how a group stands with its finding, if there is one."""
    return GroupStanding(
        severity=group.severity,
        count=group.count,
        finding_state=None if existing is None else existing.state,
        finding_severity="" if existing is None else existing.severity,
    )


def _at_floor(severity: str, count: int, floor: int) -> bool:
    match severity:
        case "critical":
            return count >= 1
        case "error":
            return count >= floor
        case _:
            return count >= floor * WARNING_FACTOR


def title(group: ErrorGroup) -> str:
    """Return a line for people: ``KeyError in orders/pricing.py: total()``; without a place, on which routes."""
    what = group.exception_type.rpartition(".")[2] or _shortened(group.message_template, 60) or group.severity
    where = f" in {_place(group.location)}" if _place(group.location) else ""
    if not where and (routes := _routes(group.samples)):
        where = f" on {', '.join(routes)}"
    return _shortened(what + where, MAX_TITLE_CHARS)


def evidence(finding: Finding) -> tuple[str, ...]:
    """Return what is known, one fact a line, all of it cleaned text."""
    group = finding.group
    lines = [f"{group.count} occurrences, first {_time(group.first_at)}, last {_time(group.last_at)}"]
    if _place(group.location):
        where = f"{group.location.path}:{group.location.line}" if group.location.path else "no file of the repository"
        function = f" in {group.location.function}()" if group.location.function else ""
        lines.append(f"at {where}{function}" + (f", commit {group.commit[:12]}" if group.commit else ""))
    lines.append(f"message: {_shortened(group.message_template, _MAX_SAMPLE_CHARS) or '(empty)'}")
    if group.samples:
        sample = max(group.samples, key=lambda item: item.at)
        lines.append(
            f"sample: {sample.exception_type or sample.logger}: {_shortened(sample.message, _MAX_SAMPLE_CHARS)}"
        )
        if sample.trace:
            lines.append("through: " + " > ".join(f"{at.path}:{at.line} {at.function}()" for at in sample.trace))
    if routes := _routes(group.samples):
        lines.append("routes: " + ", ".join(routes))
    lines.append(f"template {short(group.key)}")
    return tuple(lines)


def evidence_of_changes(finding: Finding, proposals: Iterable[Proposal]) -> tuple[str, ...]:
    """Return what these proposals have to do with it: those that are for it, and the last change that may have made it.

    That is one that is under way or was taken back, changed the file of the error, and ran when it was first seen:
    what the commit says of that line may not be what ran.
    """
    group, lines = finding.group, []
    suspects = []
    for item in proposals:
        if item.finding_id == finding.id:
            lines.append(f"proposal {item.id[:8]} is for it: {item.state.value.replace('_', ' ')}")
        elif group.location.path in item.files and _ran(item, group.first_at):
            suspects.append(item)
    if suspects:
        last = max(suspects, key=_began)
        what = "was taken back since" if last.state is ProposalState.REVERTED else last.state.value.replace("_", " ")
        lines.append(
            f"first seen while proposal {last.id[:8]} ran ({_shortened(last.title, 60)}; {what}), of the same file"
        )
    return tuple(lines)


def _ran(proposal: Proposal, at: datetime) -> bool:
    if proposal.application is None or proposal.state not in _MAY_HAVE_DONE_IT or at < _began(proposal):
        return False
    return proposal.state is not ProposalState.REVERTED or at <= proposal.updated_at


def _began(proposal: Proposal) -> datetime:
    assert proposal.application is not None
    return proposal.application.at


def _routes(samples: tuple[ErrorOccurrence, ...]) -> list[str]:
    return sorted({sample.route for sample in samples if sample.route})[:_MAX_ROUTES_SHOWN]


def _place(location: CodeLocation) -> str:
    function = f"{location.function}()" if location.function else ""
    return ": ".join(part for part in (location.path, function) if part)


def _shortened(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _time(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds")
