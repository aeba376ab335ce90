"""Findings with their evidence, and the attached host processes."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query

from homeostat.core.errors import Conflict, NotFound
from homeostat.core.ids import FindingId
from homeostat.flows.deps import Deps
from homeostat.hub.contract import FindingBody, FindingDetail, FindingList, Problem, ProcessList
from homeostat.hub.routes import Context
from homeostat.hub.views import plain
from homeostat.improvement.findings import evidence, evidence_of_changes
from homeostat.model.finding import Finding
from homeostat.model.proposal import Proposal

router = APIRouter(prefix="/api", tags=["findings"])

_NEWEST = 1000
_PROPOSALS = 200
"""The newest proposals, which are looked through for what they have to do with a finding."""

_BEGINNING = re.compile("f-[0-9a-f]{4,}")


@router.get("/findings")
def list_findings(context: Context, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> FindingList:
    """List findings, the most recent first."""
    rows = context.deps.findings.findings(limit=limit)
    proposals = context.deps.proposals.find(limit=_PROPOSALS)
    return FindingList(findings=[FindingBody(**_common(row, proposals)) for row in rows])


@router.get("/findings/{finding_id}", responses={404: {"model": Problem}, 409: {"model": Problem}})
def get_finding(finding_id: str, context: Context) -> FindingDetail:
    """Return one finding, named by its id or a unique beginning of it, with its samples."""
    finding = find_one(context.deps, finding_id)
    common = _common(finding, context.deps.proposals.find(limit=_PROPOSALS))
    return FindingDetail(**common, samples=[plain(sample) for sample in finding.group.samples])


def find_one(deps: Deps, text: str) -> Finding:
    """Return the finding of this id, or the only one of the newest that begins so; else `NotFound` or `Conflict`."""
    exact = deps.findings.get_finding(FindingId(text))
    if exact is not None:
        return exact
    if _BEGINNING.fullmatch(text):
        rows = [row for row in deps.findings.findings(limit=_NEWEST) if row.id.startswith(text)]
        if len(rows) == 1:
            return rows[0]
        if rows:
            raise Conflict("ambiguous-id", f"more than one finding starts with {text!r}", hint="give more of the id")
    raise NotFound("no-such-finding", f"finding {text[:40]!r} does not exist")


@router.get("/processes")
def list_processes(context: Context) -> ProcessList:
    """List the host processes whose agents are attached, or were a moment ago."""
    return ProcessList(processes=[plain(process) for process in context.deps.live.processes()])


def _common(finding: Finding, proposals: Sequence[Proposal]) -> dict[str, Any]:
    group = finding.group
    return {
        "finding_id": finding.id,
        "state": finding.state.value,
        "title": finding.title,
        "severity": finding.severity,
        "exception_type": group.exception_type,
        "message_template": group.message_template,
        "location": plain(group.location),
        "commit": group.commit,
        "count": group.count,
        "first_at": group.first_at.isoformat(timespec="milliseconds"),
        "last_at": group.last_at.isoformat(timespec="milliseconds"),
        "found_at": finding.found_at.isoformat(timespec="milliseconds"),
        "evidence": [*evidence(finding), *evidence_of_changes(finding, proposals)],
    }
