"""The numbered checks of `homeostat verify`, over inputs that somebody else collected.

1. The ledger can be read whole, and is not empty.
2. Its chain holds: numbers, links, hashes, and every signature.
3. The head file knows nothing that the database does not.
4. Neither do the trailers of the status commits in Git, but for what a recorded restoration explains; they
   reach as far as the rows say, and each record in Git is as it was written from its row.
5. Each proposal stands in the state that its entries lead to, and none is without row or entries.
6. Its diff is the one that was recorded, byte for byte, and so is all else in its row.
7. What was applied is what a person approved, and the ledger knows every person's credential.
8. The backup of every applied change is there, intact, and holds what its commits hold.
9. The commits that the proposals name exist.

A check that could not look fails. A ledger that fails check 2 still has its entries compared in 5
to 7, because what they say is evidence either way; only all checks together mean anything.

**Convention.** An entry ``proposal.<event>`` whose body has ``to`` moves the proposal named by its
subject: ``{"from", "to", "version", "change_digest", "diff_digest"}``, where `version` is that of
the row as it was saved. ``proposal.approved`` adds ``change_seen``, what the person saw; an entry
that names a ``commit`` names the one that the row must carry.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from homeostat.audit.chain import EMPTY_HEAD, ChainBroken, verify_integrity
from homeostat.audit.head import HeadFault, HeadReport, compare_head, parse_trailer
from homeostat.audit.proposal_story import (
    APPLIED_STATES,
    Moves,
    approvals,
    credentials,
    diffs,
    group_moves,
    rows,
    states,
)
from homeostat.audit.restoration import restorations
from homeostat.core.ids import CommitId
from homeostat.model.actor import Actor
from homeostat.model.change import FileState, TreeChange
from homeostat.model.ledger import LedgerEntry, LedgerHead
from homeostat.model.proposal import Application, Proposal

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupResult:
    """What looking at one backup gave."""

    name: str
    intact: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryInputs:
    """Everything the checks look at. What could not be read is said in `problems`, never left out."""

    entries: Sequence[LedgerEntry]
    db_head: LedgerHead
    head_file: LedgerHead | None
    trailers: Sequence[tuple[CommitId, str]]
    """(commit, value) of the ledger trailer on every status commit, as Git has them."""

    later_trailers: Sequence[tuple[CommitId, str]]
    """The same, read after the rows: what the rows say was recorded must be among them."""

    verify: Callable[[bytes, str], bool]
    """Checks a signature with the ledger's public key."""

    proposals: Sequence[Proposal]
    unrecorded: frozenset[str]
    """Ids of proposals whose status commit is still to be made."""

    row_digests: Mapping[str, str]
    """Proposal id → the digest of its row, as the ledger has it of each row that was written."""

    actors: Sequence[Actor]
    backups: Sequence[BackupResult]
    commits: frozenset[CommitId]
    """Of the commits that the proposals name, those that exist in the repository."""

    records: Sequence[str]
    """What is wrong with the Markdown records in Git, a line each: edited by hand, removed, of another status."""

    problems: Mapping[str, str]
    """What could not be collected: ``ledger|head-file|git|proposals|backups`` → why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One numbered check and its answer."""

    number: int
    name: str
    ok: bool
    detail: str


def verify_story(inputs: StoryInputs) -> tuple[Check, ...]:
    """Run every check. The story holds when all are `ok`; an empty tuple never comes back."""
    heads = compare_head(
        inputs.db_head,
        inputs.head_file,
        inputs.trailers,
        hash_at=_hash_at(inputs.entries),
        verify=inputs.verify,
        restored=restorations(inputs.entries),
    )
    moves = group_moves(inputs.entries)
    rows_unread = _unread(inputs, "ledger", "proposals")
    return (
        # 1. The ledger can be read whole, and is not empty.
        _check(1, "ledger readable", _unread(inputs, "ledger") + _readable(inputs), f"{len(inputs.entries)} entries"),
        # 2. Its chain holds: numbers, links, hashes, and every signature.
        _chain(inputs),
        # 3. The head file knows nothing that the database does not.
        _head_file(inputs, heads),
        # 4. Neither do the trailers of the status commits in Git, and they reach as far as the rows say.
        _trailers(inputs, heads, moves),
        # 5. Each proposal stands in the state that its entries lead to, and none is without row or entries.
        _check(
            5,
            "proposal states",
            rows_unread + states(inputs.proposals, moves),
            f"{len(inputs.proposals)} proposals stand where their entries lead",
        ),
        # 6. Its diff is the one that was recorded, byte for byte, and so is all else in its row.
        _check(
            6,
            "diffs",
            rows_unread + diffs(inputs.proposals, moves) + rows(inputs.row_digests, moves),
            f"{len(inputs.proposals)} diffs, and their rows, are the recorded ones",
        ),
        # 7. What was applied is what a person approved, and the ledger knows every person's credential.
        _check(
            7,
            "approvals",
            rows_unread + approvals(inputs.proposals, moves) + credentials(inputs.actors, inputs.entries),
            "every applied change was approved by a person, as that change",
        ),
        # 8. The backup of every applied change is there, intact, and holds what its commits hold.
        _backups(inputs),
        # 9. The commits that the proposals name exist.
        _commits(inputs),
    )


def _readable(inputs: StoryInputs) -> list[str]:
    wrong = []
    if len(inputs.entries) != inputs.db_head.size:
        wrong.append(f"{len(inputs.entries)} entries were read, but the last one's number is {inputs.db_head.size}")
    if inputs.entries:
        return wrong
    # INVARIANT: empty input is never a success; nothing was verified, whatever the reason.
    wrong.append("the ledger has no entry: there is nothing that could be verified")
    if inputs.proposals:
        wrong.append(f"there are {len(inputs.proposals)} proposals, but no entry at all")
    return wrong


def _chain(inputs: StoryInputs) -> Check:
    report = verify_integrity(inputs.entries, verify=inputs.verify)
    wrong = _unread(inputs, "ledger")
    if isinstance(report, ChainBroken):
        wrong.append(report.detail)
    elif report.head != inputs.db_head and inputs.db_head != EMPTY_HEAD:
        wrong.append(f"the entries end at {report.head.size}, the database says {inputs.db_head.size}")
    return _check(2, "chain and signatures", wrong, f"{len(inputs.entries)} entries are linked, hashed and signed")


def _head_file(inputs: StoryInputs, heads: HeadReport) -> Check:
    wrong = _unread(inputs, "head-file", "ledger")
    good = f"at entry {inputs.db_head.size}, as the database"
    for item in heads.findings:
        if item.commit is not None:
            continue
        if item.fault is HeadFault.FILE_BEHIND:
            good = f"{item.detail}; the next start catches it up"
        elif item.fault is HeadFault.FILE_MISSING and inputs.db_head.size == 1:
            good = "not written yet: a crash after the very first entry; the next start writes it"
        else:
            wrong.append(item.detail)
    return _check(3, "head file", wrong, good)


def _trailers(inputs: StoryInputs, heads: HeadReport, moves: Moves) -> Check:
    wrong = _unread(inputs, "git", "ledger")
    wrong += [item.detail for item in heads.findings if item.commit is not None]
    recorded = [item for item in inputs.proposals if item.id not in inputs.unrecorded]
    if recorded and not heads.trailers and "git" not in inputs.problems:
        wrong.append(f"{len(recorded)} proposals were recorded in Git, but no status commit carries a ledger head")
    elif "git" not in inputs.problems:
        wrong += _cut_off(recorded, moves, inputs.later_trailers)
    wrong += inputs.records
    return _check(4, "Git trailers", wrong, f"{heads.trailers} status commits witness the same ledger")


def _cut_off(recorded: Sequence[Proposal], moves: Moves, trailers: Sequence[tuple[CommitId, str]]) -> list[str]:
    heads = [head.size for _, value in trailers if (head := parse_trailer(value)) is not None]
    reach = max(heads, default=0)
    last = {proposal.id: moves[proposal.id][-1].seq for proposal in recorded if proposal.id in moves}
    return [
        f"{subject}: entry {seq} was recorded in Git, but the status commits end at entry {reach}: some were cut off"
        for subject, seq in last.items()
        if seq > reach
    ]


def _backups(inputs: StoryInputs) -> Check:
    wrong = _unread(inputs, "backups", "proposals")
    results = {item.name: item for item in inputs.backups}
    needed = 0
    for proposal in inputs.proposals:
        if proposal.application is None:
            continue
        needed += 1
        result = results.get(proposal.application.backup)
        if result is None:
            wrong.append(f"{proposal.id}: nothing was looked at as its backup {proposal.application.backup!r}")
        elif not result.intact:
            wrong.append(f"{proposal.id}: {result.detail}")
    return _check(8, "backups", wrong, f"{needed} backups are intact")


def _commits(inputs: StoryInputs) -> Check:
    wrong = _unread(inputs, "git", "proposals")
    needed = 0
    for proposal in inputs.proposals:
        for what, commit in _named_commits(proposal):
            needed += 1
            if commit not in inputs.commits:
                wrong.append(f"{proposal.id}: its {what} commit {commit[:12]} is not in the repository")
    return _check(9, "commits", wrong, f"{needed} named commits exist")


def named_commits(proposals: Sequence[Proposal]) -> frozenset[CommitId]:
    """Return every commit that check 9 will ask for, so that a collector knows what to look up."""
    return frozenset(commit for proposal in proposals for _, commit in _named_commits(proposal))


def _named_commits(proposal: Proposal) -> list[tuple[str, CommitId]]:
    named = [("base", proposal.change.base_commit)]
    application = proposal.application
    if application is not None and proposal.state in APPLIED_STATES:
        named += [("parent", application.before_commit), ("applied", application.commit)]
        if application.revert_commit is not None:
            named.append(("revert", application.revert_commit))
    return named


def unlike_commits(
    change: TreeChange,
    application: Application,
    read_files: Callable[[CommitId, Sequence[str]], Mapping[str, FileState | None]],
) -> str:
    """Say where a backup and the commits of its application hold different bytes; empty when they do not.

    Whoever alters a backup can alter its manifest too, but not the commits that the ledger names.
    """
    for commit, sides in (
        (application.before_commit, {item.old_path: item.before for item in change.files if item.before}),
        (application.commit, {item.path: item.after for item in change.files if item.after}),
    ):
        held = read_files(commit, list(sides))
        other = sorted(path for path, side in sides.items() if held[path] != side)
        if other:
            return f"the backup {application.backup} and commit {commit[:12]} hold different bytes for {other[0]!r}"
    return ""


def _hash_at(entries: Sequence[LedgerEntry]) -> Callable[[int], str | None]:
    hashes = {entry.seq: entry.entry_hash for entry in entries}
    return hashes.get


def _unread(inputs: StoryInputs, *parts: str) -> list[str]:
    return [f"could not be checked: {inputs.problems[part]}" for part in parts if part in inputs.problems]


def _check(number: int, name: str, wrong: list[str], good: str) -> Check:
    if not wrong:
        return Check(number=number, name=name, ok=True, detail=good)
    more = f" (and {len(wrong) - _MAX_NAMED} more)" if len(wrong) > _MAX_NAMED else ""
    return Check(number=number, name=name, ok=False, detail="; ".join(wrong[:_MAX_NAMED]) + more)
