"""Findings with their evidence, and the attached host processes."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from homeostat.core.errors import NotFound
from homeostat.core.ids import FindingId
from homeostat.hub.contract import FindingBody, FindingDetail, FindingList, Problem, ProcessList
from homeostat.hub.routes import Context
from homeostat.hub.views import plain
from homeostat.improvement.findings import evidence
from homeostat.model.finding import Finding

router = APIRouter(prefix="/api", tags=["findings"])


@router.get("/findings")
def list_findings(context: Context, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> FindingList:
    """List findings, the most recent first."""
    rows = context.deps.findings.findings(limit=limit)
    return FindingList(findings=[FindingBody(**_common(row)) for row in rows])


@router.get("/findings/{finding_id}", responses={404: {"model": Problem}})
def get_finding(finding_id: str, context: Context) -> FindingDetail:
    """Return one finding with its samples."""
    finding = context.deps.findings.get_finding(FindingId(finding_id))
    if finding is None:
        raise NotFound("no-such-finding", f"finding {finding_id[:40]!r} does not exist")
    return FindingDetail(**_common(finding), samples=[plain(sample) for sample in finding.group.samples])


@router.get("/processes")
def list_processes(context: Context) -> ProcessList:
    """List the host processes whose agents are attached, or were a moment ago."""
    return ProcessList(processes=[plain(process) for process in context.deps.live.processes()])


def _common(finding: Finding) -> dict[str, Any]:
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
        "evidence": list(evidence(finding)),
    }
