"""What the ledger's entries say of each proposal, against what its row says.

The comparisons are checks 5, 6, 7 and 11 of `homeostat.audit.story`, where the convention of the
entries is written down. Each returns what is wrong, one line apiece; nothing wrong is an empty list.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from homeostat.audit.evidence import EVIDENCE_DIGEST, EVIDENCE_KEY, open_envelope, read_subject
from homeostat.audit.notes import NoteKey
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import HomeostatError
from homeostat.model.ledger import LedgerEntry
from homeostat.model.proposal import Proposal, ProposalState

PROPOSAL_PREFIX = "proposal."
_APPROVED = "proposal.approved"
_EDITED = "proposal.edited"
RESTORED_ROW = "proposal.restored"
_ROW_DIGEST = "row_digest"
_PERSON = "person-"

APPLIED_STATES = frozenset(
    {
        ProposalState.APPLYING,
        ProposalState.CANARY,
        ProposalState.OBSERVING,
        ProposalState.AWAITING_RESTART,
        ProposalState.IMPLEMENTED,
        ProposalState.REVERTING,
        ProposalState.REVERTED,
    }
)
"""States of a change that is, or is being, or was applied: its commit must be in the repository."""

Moves: TypeAlias = Mapping[str, Sequence[LedgerEntry]]
"""Proposal id → its entries that moved it, in ledger order."""


def group_moves(entries: Sequence[LedgerEntry]) -> Moves:
    """Return the entries that moved a proposal, by proposal."""
    moves: dict[str, list[LedgerEntry]] = {}
    for entry in entries:
        if entry.kind.startswith(PROPOSAL_PREFIX) and "to" in entry.body:
            moves.setdefault(entry.subject, []).append(entry)
    return moves


def states(proposals: Sequence[Proposal], moves: Moves) -> list[str]:
    """Check 5: row and entries lead to the same state, through versions that only rise."""
    wrong = []
    for proposal in proposals:
        own = moves.get(proposal.id, ())
        if not own:
            wrong.append(f"{proposal.id} is {proposal.state.value}, but the ledger has no entry of it")
            continue
        wrong += _broken_path(own)
        last = own[-1]
        if last.body["to"] != proposal.state.value:
            wrong.append(
                f"{proposal.id} is {proposal.state.value} in the row, but {last.body['to']!r} since entry {last.seq}"
            )
        version = last.body.get("version")
        if not isinstance(version, int) or version > proposal.version:
            wrong.append(f"{proposal.id}: its row is at version {proposal.version}, entry {last.seq} at {version!r}")
    rows = {proposal.id for proposal in proposals}
    for subject, own in moves.items():
        if subject not in rows:
            wrong.append(f"{subject} has {len(own)} entries, the last being {own[-1].seq}, but no row")
    return wrong


def diffs(proposals: Sequence[Proposal], moves: Moves) -> list[str]:
    """Check 6: the stored diff hashes to the row's digest, and that is the digest of every entry."""
    wrong = []
    for proposal in proposals:
        row = proposal.change.diff_digest
        if digest_bytes(proposal.diff.encode("utf-8", "surrogatepass")) != row:
            wrong.append(f"{proposal.id}: the stored diff does not match its own digest")
        recorded = _of_revision(moves.get(proposal.id, ()))
        bad = next((item for item in recorded if item[1] != row), None)
        if bad is not None:
            wrong.append(f"{proposal.id}: entry {bad[0]} recorded the diff {bad[1]!r}, the row has {row}")
        elif not recorded:
            wrong.append(f"{proposal.id}: no entry recorded its diff")
    return wrong


def _of_revision(own: Sequence[LedgerEntry]) -> list[tuple[int, object]]:
    """Return (entry, diff digest) of the present revision, and of any entry before it that left its own revision."""
    recorded: list[tuple[int, object]] = []
    before: list[tuple[int, object]] = []
    for entry in own:
        diff = entry.body.get("diff_digest")
        if entry.kind == _EDITED:
            recorded = []
        elif recorded and recorded[0][1] != diff:
            before.append((entry.seq, diff))
        recorded.append((entry.seq, diff))
    return [*before, *recorded]


def rows(digests: Mapping[str, str], moves: Moves) -> list[str]:
    """Check 6: each row, whole, is the one that the last entry of its proposal was written with."""
    recorded = ((subject, own[-1].seq, own[-1].body.get(_ROW_DIGEST)) for subject, own in moves.items())
    return [
        f"{subject}: its row is not the one that entry {seq} was written with"
        for subject, seq, digest in recorded
        if digest is not None and subject in digests and digests[subject] != digest
    ]


def evidence(proposals: Sequence[Proposal], moves: Moves) -> tuple[int, list[str]]:
    """Check 11: the envelope in the row is the one that the entry of its proof names, signed by the key named there.

    Returns how many were looked at, too: a proposal that was not proved, or by an earlier version, has none.
    """
    wrong: list[str] = []
    looked_at = 0
    for proposal in proposals:
        proof = proposal.proof
        named = next((e for e in reversed(moves.get(proposal.id, ())) if e.body.get("verdict") is not None), None)
        recorded = None if named is None else named.body.get(EVIDENCE_DIGEST)
        if proof is None or named is None or (recorded is None and not proof.evidence):
            continue
        looked_at += 1
        if digest_bytes(proof.evidence.encode("utf-8", "surrogatepass")) != recorded:
            wrong.append(f"{proposal.id}: the evidence in its row is not the one that entry {named.seq} names")
            continue
        try:
            key = NoteKey.parse(str(named.body.get(EVIDENCE_KEY)))
            subject, _ = read_subject(open_envelope(proof.evidence, key))
        except HomeostatError as error:
            wrong.append(f"{proposal.id}: {error.message}")
            continue
        if (subject.diff_digest, subject.change_digest) != (
            proposal.change.diff_digest,
            proposal.change.change_digest,
        ):
            wrong.append(f"{proposal.id}: its evidence is of another change")
    return looked_at, wrong


def approvals(proposals: Sequence[Proposal], moves: Moves) -> list[str]:
    """Check 7: an applied change has a person's approval before it, of exactly that change."""
    rows: dict[str, Proposal] = {proposal.id: proposal for proposal in proposals}
    wrong = []
    for subject, own in moves.items():
        approval: LedgerEntry | None = None
        for entry in own:
            if entry.kind == _APPROVED:
                wrong += _bad_approval(entry)
                approval = entry
            elif entry.body["to"] == ProposalState.PENDING.value:
                approval = None  # taken up again: what was approved before counts no more
            elif entry.body["to"] in APPLIED_STATES:
                wrong += _unapproved(subject, entry, approval)
        if subject in rows:
            wrong += _row_against_ledger(rows[subject], own, approval)
    for proposal in proposals:
        if proposal.application is not None and proposal.id not in moves:
            wrong.append(f"{proposal.id} was applied, but the ledger has no approval of it")
    return wrong


def _broken_path(own: Sequence[LedgerEntry]) -> list[str]:
    state: object = ""
    version = 0
    for entry in own:
        if entry.body.get("from") != state:
            return [f"{entry.subject}: entry {entry.seq} starts from {entry.body.get('from')!r}, not from {state!r}"]
        now = entry.body.get("version")
        if not isinstance(now, int) or now <= version:
            return [f"{entry.subject}: entry {entry.seq} has version {now!r} after {version}"]
        state, version = entry.body["to"], now
    return []


def _bad_approval(entry: LedgerEntry) -> list[str]:
    wrong = []
    if not entry.actor.startswith(_PERSON):
        wrong.append(f"{entry.subject}: entry {entry.seq} is an approval by {entry.actor}, who is not a person")
    if entry.body.get("change_seen") != entry.body.get("change_digest") or not entry.body.get("change_seen"):
        wrong.append(f"{entry.subject}: entry {entry.seq} approves another change than the one that was seen")
    return wrong


def _unapproved(subject: str, entry: LedgerEntry, approval: LedgerEntry | None) -> list[str]:
    if approval is None:
        return [f"{subject}: entry {entry.seq} ({entry.kind}) has no approval before it"]
    if entry.body.get("change_digest") != approval.body.get("change_digest"):
        return [f"{subject}: entry {entry.seq} ({entry.kind}) is of another change than entry {approval.seq} approved"]
    return []


def _row_against_ledger(proposal: Proposal, own: Sequence[LedgerEntry], approval: LedgerEntry | None) -> list[str]:
    wrong = []
    recorded = own[-1].body.get("change_digest")
    if recorded != proposal.change.change_digest:
        wrong.append(f"{proposal.id}: the row's change is {proposal.change.change_digest}, recorded was {recorded!r}")
    application = proposal.application
    if application is None:
        return wrong
    review = proposal.review
    if review is None or review.change_digest != proposal.change.change_digest:
        wrong.append(f"{proposal.id}: the row's review is not of the change that was applied")
    elif approval is not None and review.by != approval.actor:
        wrong.append(f"{proposal.id}: the row names {review.by} as approver, entry {approval.seq} {approval.actor}")
    named: dict[object, object] = {}
    for entry in own:
        if entry.kind == RESTORED_ROW:  # what Git showed after a restoration, in one step
            named[ProposalState.APPLYING.value] = entry.body.get("commit")
            named[ProposalState.REVERTING.value] = entry.body.get("revert_commit")
        elif "commit" in entry.body:
            named[entry.body["to"]] = entry.body["commit"]
    for state, commit in (
        (ProposalState.APPLYING, application.commit),
        (ProposalState.REVERTING, application.revert_commit),
    ):
        if commit is not None and named.get(state.value) != commit:
            wrong.append(f"{proposal.id}: the row names commit {commit[:12]}, the ledger {named.get(state.value)!r}")
    return wrong
