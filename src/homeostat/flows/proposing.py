"""Taking a patch from any person, bot or coding agent."""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from homeostat.core.digests import Digest
from homeostat.core.errors import InvalidInput, NotFound
from homeostat.core.ids import CommitId, FindingId, ProposalId
from homeostat.core.limits import MAX_EVIDENCE_ITEMS, MAX_TEXT_CHARS, MAX_TITLE_CHARS, MAX_UNDECIDED
from homeostat.flows.deps import Deps
from homeostat.flows.permitting import ask
from homeostat.flows.recording import record_or_lag
from homeostat.improvement.findings import evidence as evidence_of
from homeostat.model.actor import Actor, Role
from homeostat.model.change import TreeChange
from homeostat.model.finding import Finding
from homeostat.model.ledger import EntryDraft
from homeostat.model.proposal import Category, ChangeRef, Proposal, ProposalState, Severity
from homeostat.model.verdict import Denied
from homeostat.policy.authorization import Action
from homeostat.policy.check import check_change
from homeostat.policy.rules.secrets import RULE as SECRETS
from homeostat.rollout.consent import change_ref
from homeostat.telemetry.redact import clean
from homeostat.validation.patch import parse_patch
from homeostat.validation.resolve import resolve

_OPEN = frozenset(
    {
        ProposalState.PENDING,
        ProposalState.VALIDATING,
        ProposalState.AWAITING_APPROVAL,
        ProposalState.APPROVED,
        ProposalState.DEFERRED,
    }
)

_UNDECIDED = frozenset({ProposalState.PENDING, ProposalState.VALIDATING, ProposalState.AWAITING_APPROVAL})

_PSEUDONYM = re.compile(r"(?i)(?:person|agent|system)-")
"""What a bot may not call itself: it would stand in the record as somebody else."""

one_submission_at_a_time = threading.Lock()
"""Held between looking for a diff and storing it. One hub holds a state directory, so this is enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a submitter hands in. Texts are cleaned before they are stored; the diff is kept exactly."""

    title: str
    rationale: str
    diff: str
    base_commit: str = ""
    category: Category = Category.BUGFIX
    severity: Severity = Severity.MEDIUM
    evidence: tuple[str, ...] = ()
    author: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)
    finding_id: str = ""
    again: str = ""
    """Why a diff that was taken back before is to be tried once more. Counts from a person only."""


def submit(
    deps: Deps, submission: Submission, *, actor: Actor, takes_back: ProposalId | None = None
) -> Proposal | Denied:
    """Make a proposal of a submission, durably, and start its validation.

    The same diff on the same base, still open, answers with the proposal that exists. A diff that
    was taken back before is locked out, until a person says why it is tried `again`. One that carries a
    secret is refused before anything of it is stored: neither the store nor Git may ever hold it.

    `takes_back` is the proposal whose change this one takes out whole: said by the flow that made the diff for it
    (`homeostat.flows.late_reverts`), never by whoever hands something in.
    """
    check_texts(submission)
    refused = queue_is_full(deps, actor)
    if refused is not None:
        return refused
    base = base_commit(deps, submission.base_commit)
    if isinstance(base, Denied):
        return base
    diff = submission.diff.encode("utf-8")
    change = resolve_diff(deps, diff, base)
    if isinstance(change, Denied):
        return change
    permitted = ask(deps, actor, Action.PROPOSE, paths=change.touched_paths, reason=submission.rationale)
    if isinstance(permitted, Denied):
        return permitted
    ref = change_ref(base, diff, deps.policy.digest)
    despite, again_by = _despite(deps, submission, ref, change, actor)
    policies = (*permitted.policies, *again_by)
    known = known_diff(deps, ref.diff_digest, base, despite=despite)
    if known is not None:
        return known
    refused = refuse_secrets(deps, change, ref, actor)
    if refused is not None:
        return refused
    finding = _finding(deps, submission)
    proposal = _new_proposal(deps, submission, actor, base, change, finding, despite)
    proposal = replace(proposal, takes_back=takes_back)
    with one_submission_at_a_time:
        # Looked at once more: the same diff may have been handed in while this one was read.
        known = known_diff(deps, ref.diff_digest, base, despite=despite)
        if known is not None:
            return known
        _insert(deps, proposal, actor, policies)
    deps.start.submitted(proposal.id)
    record_or_lag(deps, proposal.id)
    return proposal


def _insert(deps: Deps, proposal: Proposal, actor: Actor, policies: Sequence[str]) -> None:
    deps.proposals.insert(
        proposal,
        EntryDraft(
            kind="proposal.submitted",
            actor=actor.id,
            subject=proposal.id,
            body={
                "from": "",
                "to": proposal.state.value,
                "version": proposal.version,
                "change_digest": proposal.change.change_digest,
                "diff_digest": proposal.change.diff_digest,
                "base_commit": proposal.change.base_commit,
                "policies": list(policies),
                **({} if proposal.again_after is None else {"again_after": proposal.again_after}),
                **({} if proposal.takes_back is None else {"takes_back": proposal.takes_back}),
            },
        ),
    )


def resolve_diff(deps: Deps, diff: bytes, base: CommitId) -> TreeChange | Denied:
    """Parse a diff and resolve it against the files of its base commit."""
    patch = parse_patch(diff)
    if isinstance(patch, Denied):
        return patch
    files = deps.commits.read_files(base, patch.paths)
    return resolve(patch, files, tree_paths=deps.commits.list_files(base))


def _finding(deps: Deps, submission: Submission) -> Finding | None:
    if not submission.finding_id:
        return None
    finding = deps.findings.get_finding(FindingId(submission.finding_id))
    if finding is None:
        raise NotFound("no-such-finding", f"finding {submission.finding_id[:40]!r} does not exist")
    return finding


def queue_is_full(deps: Deps, actor: Actor) -> Denied | None:
    """Refuse an agent when too much waits for proof or decision; a person is never kept out."""
    if actor.role is not Role.AGENT or _undecided(deps) < MAX_UNDECIDED:
        return None
    return Denied(
        code="too-many-undecided",
        reasons=(f"{MAX_UNDECIDED} proposals wait for proof or decision; an agent can add no more",),
        hint="try again when some of them are decided",
    )


def refuse_secrets(deps: Deps, change: TreeChange, ref: ChangeRef, actor: Actor) -> Denied | None:
    """Refuse a change that carries a secret, on record and before anything of it is stored."""
    secrets = [finding for finding in check_change(deps.policy, change).findings if finding.rule == SECRETS.id]
    if not secrets:
        return None
    deps.ledger.append(
        EntryDraft(
            kind="proposal.refused",
            actor=actor.id,
            subject=ref.diff_digest,
            body={"code": "secret-in-diff", "diff_digest": ref.diff_digest},
        )
    )
    return Denied(
        code="secret-in-diff",
        reasons=tuple(f"{item.path}:{item.line}: {item.message}" for item in secrets),
        hint=secrets[0].remedy,
    )


def base_commit(deps: Deps, named: str) -> CommitId | Denied:
    """Return the commit that a diff is made on: the deployed head, or an ancestor of it that was named."""
    head = deps.commits.head()
    if not named:
        return head
    base = deps.commits.resolve(named)
    if not deps.commits.is_ancestor(base, head):
        return Denied(
            code="base-not-deployed",
            reasons=(f"commit {base[:12]} is not part of the deployed branch {deps.commits.deployed_branch()}",),
            hint="make the diff against the deployed branch",
        )
    return base


def known_diff(
    deps: Deps,
    diff_digest: Digest,
    base: CommitId,
    *,
    besides: ProposalId | None = None,
    despite: ProposalId | None = None,
) -> Proposal | Denied | None:
    """Return the open proposal that has this diff on this base already, or the refusal where it was taken back.

    `despite` is one that was taken back and that a person looked past: neither it nor an older one refuses.
    """
    looked_past = False
    for proposal in deps.proposals.find_by_diff(diff_digest):
        looked_past = looked_past or proposal.id == despite
        if proposal.id == besides:
            continue
        if _was_taken_back(proposal) and not looked_past:
            return Denied(
                code="locked-out",
                reasons=(f"this diff was taken back before, as proposal {proposal.id}: {proposal.state_reason}",),
                hint="propose a different change; a person may try the same one once more: "
                'homeostat propose ... --again "WHY"',
            )
        if proposal.change.base_commit == base and proposal.state in _OPEN:
            return proposal
    return None


def _despite(
    deps: Deps, submission: Submission, ref: ChangeRef, change: TreeChange, actor: Actor
) -> tuple[ProposalId | None, tuple[str, ...]]:
    """Return the proposal of the same diff that was taken back, where the actor says why and may look past it.

    Beside it stand the policies that let them.
    """
    taken_back = _taken_back(deps, ref.diff_digest) if submission.again.strip() else None
    if taken_back is None:
        return None, ()
    answer = ask(deps, actor, Action.PROPOSE_AGAIN, paths=change.touched_paths, reason=submission.again)
    return (None, ()) if isinstance(answer, Denied) else (taken_back, answer.policies)


def _taken_back(deps: Deps, diff_digest: Digest) -> ProposalId | None:
    return next((item.id for item in deps.proposals.find_by_diff(diff_digest) if _was_taken_back(item)), None)


def _was_taken_back(proposal: Proposal) -> bool:
    automatic = proposal.application is not None and proposal.application.automatic_revert
    return proposal.state is ProposalState.REVERTED or automatic


def _new_proposal(
    deps: Deps,
    submission: Submission,
    actor: Actor,
    base: CommitId,
    change: TreeChange,
    finding: Finding | None,
    again_after: ProposalId | None,
) -> Proposal:
    now = deps.clock.now()
    # A bot's name is no personal data and tells the reviewer much; a person stands as pseudonym.
    named = one_line(clean(submission.author or actor.name or ""))[:80]
    is_label = actor.role is Role.AGENT and named and not _PSEUDONYM.match(named)
    author = named if is_label else actor.id
    return Proposal(
        id=ProposalId(deps.ids.new_uuid()),
        version=1,
        revision=1,
        title=one_line(clean(submission.title)),
        rationale=clean(submission.rationale.strip()),
        category=submission.category,
        severity=submission.severity,
        author=author,
        submitted_by=actor.id,
        created_at=now,
        updated_at=now,
        state=ProposalState.PENDING,
        state_reason="handed in",
        change=change_ref(base, submission.diff.encode("utf-8"), deps.policy.digest),
        diff=submission.diff,
        files=change.touched_paths,
        evidence=(
            *(clean(item) for item in submission.evidence),
            *(evidence_of(finding) if finding else ()),
            *([f"taken back before as {again_after}; tried again: {clean(submission.again)}"] if again_after else ()),
        ),
        again_after=again_after,
        finding_id=finding.id if finding else None,
        provenance={clean(key): clean(value) for key, value in submission.provenance.items()},
        log=(f"{now.isoformat(timespec='milliseconds')} pending: handed in",),
    )


def _undecided(deps: Deps) -> int:
    counts = deps.proposals.count_by_state()
    return sum(counts.get(state, 0) for state in _UNDECIDED)


def one_line(text: str) -> str:
    """Return text with every run of white space as one space."""
    return " ".join(text.split())


def check_texts(submission: Submission) -> None:
    """Raise `InvalidInput` for a text that is missing, too long, or none."""
    # Cleaning makes plain line ends of the odd ones and drops what cannot be seen: what is left counts.
    if not one_line(clean(submission.title)) or len(submission.title) > MAX_TITLE_CHARS or "\n" in submission.title:
        raise InvalidInput("bad-title", f"a title is one line of 1 to {MAX_TITLE_CHARS} characters")
    if not submission.rationale.strip() or len(submission.rationale) > MAX_TEXT_CHARS:
        raise InvalidInput("bad-rationale", f"a rationale has 1 to {MAX_TEXT_CHARS} characters")
    if len(submission.evidence) > MAX_EVIDENCE_ITEMS or any(len(e) > MAX_TEXT_CHARS for e in submission.evidence):
        raise InvalidInput(
            "bad-evidence", f"evidence has at most {MAX_EVIDENCE_ITEMS} items of {MAX_TEXT_CHARS} characters"
        )
    if len(submission.again) > MAX_TEXT_CHARS:
        raise InvalidInput("bad-rationale", f"the reason to try it again has at most {MAX_TEXT_CHARS} characters")
    if len(submission.provenance) > MAX_EVIDENCE_ITEMS or any(
        len(key) > 80 or len(value) > MAX_TEXT_CHARS for key, value in submission.provenance.items()
    ):
        raise InvalidInput("bad-provenance", "provenance has at most 100 short names with texts")
    try:
        submission.diff.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput("bad-diff", "the diff holds a lone surrogate: it is no valid text") from error
