"""Proving a proposal: policy, then the host's own tests on base and candidate in a sandbox."""

from collections.abc import Callable
from dataclasses import replace

from homeostat.audit.evidence import evidence_fault
from homeostat.audit.notes import NoteKey
from homeostat.core.errors import Unavailable
from homeostat.core.ids import ProposalId
from homeostat.flows.deps import Deps
from homeostat.flows.proposing import resolve_diff
from homeostat.flows.transition import drop_candidate, must, read, transition
from homeostat.model.actor import SYSTEM
from homeostat.model.change import TreeChange
from homeostat.model.proof import (
    STOPPED_FROM_OUTSIDE,
    PolicyFinding,
    PolicySeverity,
    ProofReport,
    ProofSubject,
    ProofVerdict,
)
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.policy.check import PolicyDecision, check_change
from homeostat.policy.past import ENDED, past_of
from homeostat.policy.risk import assess
from homeostat.ports.proving import ProofJob, ProofRuns
from homeostat.proposals.events import Proved, ValidationStarted
from homeostat.validation.compare import judge_proof

_MOST_ATTEMPTS = 2
_PAST = 200
"""Proposals that came to an end, the newest: what they became tells of their sources and files."""

_TWICE = (
    "the proof died twice and says nothing about the change: look into the machine's log (out of memory?) and at "
    "`homeostat doctor`, then hand the change in again"
)


def validate(deps: Deps, proposal_id: ProposalId) -> None:
    """Take a pending proposal to *awaiting_approval* or *blocked*; in any other state do nothing."""
    proposal = read(deps, proposal_id)
    if proposal.state is ProposalState.PENDING:
        proposal = must(transition(deps, proposal, ValidationStarted(), actor=SYSTEM))
    if proposal.state is not ProposalState.VALIDATING:
        return
    report = _prove(deps, proposal)
    must(transition(deps, proposal, Proved(report=report), actor=SYSTEM))
    if report.verdict is not ProofVerdict.PASSED:
        drop_candidate(deps, proposal.id)


def _prove(deps: Deps, proposal: Proposal) -> ProofReport:
    started_s = deps.clock.monotonic_s()

    def elapsed_ms() -> int:
        return int((deps.clock.monotonic_s() - started_s) * 1000)

    change = resolve_diff(deps, proposal.diff.encode("utf-8"), proposal.change.base_commit)
    if isinstance(change, Denied):
        return _refused(change.reasons, ProofVerdict.FAILED, (), elapsed_ms())
    decision = check_change(deps.policy, change)
    known = past_of(proposal, deps.proposals.find(states=ENDED, limit=_PAST))
    return replace(_proved(deps, proposal, change, decision, elapsed_ms), risk=assess(change, decision.findings, known))


def _proved(
    deps: Deps, proposal: Proposal, change: TreeChange, decision: PolicyDecision, elapsed_ms: Callable[[], int]
) -> ProofReport:
    blocking = tuple(f for f in decision.findings if f.severity is PolicySeverity.BLOCK)
    if decision.verdict == "block":
        reasons = tuple(f"{f.rule}: {f.path}: {f.message}" for f in blocking) or ("policy: no rule decided",)
        return _refused(reasons, ProofVerdict.FAILED, decision.findings, elapsed_ms())
    if not deps.settings.host.test_command:
        reason = "no test command is configured, so nothing can be proved: set `host.test_command` in homeostat.toml"
        return _refused((reason,), ProofVerdict.INCONCLUSIVE, decision.findings, elapsed_ms())
    return _run_tests(deps, proposal, change, decision.findings, elapsed_ms)


def _run_tests(
    deps: Deps,
    proposal: Proposal,
    change: TreeChange,
    findings: tuple[PolicyFinding, ...],
    elapsed_ms: Callable[[], int],
) -> ProofReport:
    candidate = deps.candidates.commit(
        proposal_id=proposal.id,
        base=proposal.change.base_commit,
        change=change,
        message=f"Candidate for proposal {proposal.id}\n\n{proposal.title}\n",
        at=proposal.created_at,
    )
    limits = deps.settings.proof
    job = ProofJob(
        repository=deps.repository_path,
        base=proposal.change.base_commit,
        candidate=candidate,
        test_command=deps.settings.host.test_command,
        python=deps.settings.host.python,
        changed_modules=tuple(
            item.path for item in change.files if item.after is not None and item.path.endswith(".py")
        ),
        timeout_s=limits.timeout_s,
        memory_mb=limits.memory_mb,
        max_processes=limits.max_processes,
        subject=ProofSubject(
            diff_digest=proposal.change.diff_digest,
            change_digest=proposal.change.change_digest,
            policy_digest=proposal.change.policy_digest,
            base=proposal.change.base_commit,
            candidate=candidate,
        ),
        whose=proposal.id,
    )
    deaths: list[str] = []
    while True:
        runs = _try(deps, job)
        died = runs if isinstance(runs, str) else _stopped(runs)
        if not died or len(deaths) + 1 >= _MOST_ATTEMPTS:
            break
        # INVARIANT: a death answers nothing, so it is no verdict; but a change that kills its judge gets one more
        # run, and not as many as it likes.
        deaths.append(died)
    if isinstance(runs, str):
        report = _refused((f"{runs}; {_TWICE}",), ProofVerdict.INCONCLUSIVE, findings, elapsed_ms())
    else:
        report = judge_proof(runs, changed_python=bool(job.changed_modules), policy=findings, duration_ms=elapsed_ms())
        report = _attested(deps.prover.key(), job, runs, report)
        if died:
            report = replace(report, reasons=(*report.reasons, _TWICE))
    return replace(report, deaths=tuple(deaths))


def _attested(key: str, job: ProofJob, runs: ProofRuns, report: ProofReport) -> ProofReport:
    """Keep the evidence with the report; one that a worker does not attest, as it is, does not count."""
    if runs.base is None or runs.candidate is None or job.subject is None:
        return report  # nothing to attest, and no verdict that opens anything
    fault = "this hub holds no key of its workers"
    if key:
        fault = evidence_fault(
            runs.evidence, key=NoteKey.parse(key), subject=job.subject, base=runs.base, candidate=runs.candidate
        )
    if fault:
        # INVARIANT: no evidence is never a pass, and neither a failure.
        reasons = (f"the proof does not count: {fault}", *report.reasons)
        return replace(report, verdict=ProofVerdict.INCONCLUSIVE, reasons=reasons)
    return replace(report, evidence=runs.evidence, evidence_key=key)


def _try(deps: Deps, job: ProofJob) -> ProofRuns | str:
    """Run the job once; return the runs, or how the worker died."""
    try:
        return deps.prover.prove(job)
    except Unavailable as error:
        if error.code == "hub-stopping":
            raise  # the row stays as it is, and the next hub proves it
        return error.message


def _stopped(runs: ProofRuns) -> str:
    for name, run in (("base", runs.base), ("candidate", runs.candidate)):
        if run is not None and run.problem == STOPPED_FROM_OUTSIDE:
            return f"{name}: {run.problem}"
    return ""


def _refused(
    reasons: tuple[str, ...], verdict: ProofVerdict, findings: tuple[PolicyFinding, ...], duration_ms: int
) -> ProofReport:
    return ProofReport(verdict=verdict, reasons=reasons, policy=findings, sandbox="", duration_ms=duration_ms)
