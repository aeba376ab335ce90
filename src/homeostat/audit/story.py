"""The numbered checks of `homeostat verify`, over inputs that somebody else collected.

1. The ledger can be read whole, and is not empty.
2. Its chain holds: numbers, links, hashes, and every signature.
3. The head file knows nothing that the database does not.
4. Neither do the trailers of the status commits in Git, but for what a recorded restoration explains; they
   reach as far as the rows say, and each record in Git is as it was written from its row.
5. Each proposal stands in the state that its entries lead to, and none is without row or entries.
6. Its diff is the one that was recorded, byte for byte, and so is all else in its row.
7. What was applied is what a person approved; the ledger knows every person's credential and every token.
8. The backup of every applied change is there, intact, and holds what its commits hold.
9. The commits that the proposals name exist.
10. The Merkle tree is the one that the entries make, and every checkpoint that was signed saw a beginning of it.
11. The evidence of each proof is the recorded one, of exactly that change, and signed by the key that the ledger names.

A check that could not look fails. A ledger that fails check 2 still has its entries compared in 5
to 7, because what they say is evidence either way; only all checks together mean anything.

**Convention.** An entry ``proposal.<event>`` whose body has ``to`` moves the proposal named by its
subject: ``{"from", "to", "version", "change_digest", "diff_digest"}``, where `version` is that of
the row as it was saved. ``proposal.approved`` adds ``change_seen``, what the person saw; an entry
that names a ``commit`` names the one that the row must carry.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from homeostat.audit.chain import EMPTY_HEAD, ChainBroken, ChainIntact, ChainReport, verify_integrity
from homeostat.audit.credentials import CREDENTIAL_MADE, credentials
from homeostat.audit.head import HeadFault, HeadReport, compare_head, parse_trailer
from homeostat.audit.notes import NoteKey
from homeostat.audit.restoration import RESTORED, restorations
from homeostat.audit.story_parts import Seen, StoryPart
from homeostat.audit.story_tree import TreeWalk
from homeostat.core.ids import ActorId, CommitId
from homeostat.model.actor import Actor
from homeostat.model.change import FileState, TreeChange
from homeostat.model.ledger import LedgerEntry, LedgerHead
from homeostat.model.proposal import Application

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryInputs:
    """Everything the checks look at. What could not be read is said in `problems`, never left out."""

    entries: Iterable[LedgerEntry]
    """The whole ledger; read once."""

    parts: Iterable[StoryPart]
    """All proposals; read once, after the entries."""

    db_head: LedgerHead
    head_file: LedgerHead | None
    trailers: Sequence[tuple[CommitId, str]]
    """(commit, value) of the ledger trailer on every status commit, as Git has them."""

    nodes: Iterable[tuple[int, object]]
    """The stored Merkle tree: (entry, hashes of what it completes), by entry; read once, beside the entries."""

    checkpoints: Sequence[tuple[CommitId, str]]
    """(commit, value) of the checkpoint's trailer on every status commit that has one, newest first."""

    kept: Sequence[tuple[str, str]]
    """Checkpoints that were kept elsewhere: words for where, and the note."""

    key: NoteKey
    """The ledger's public key, as it signs checkpoints."""

    later_trailers: Sequence[tuple[CommitId, str]]
    """The same, read after the rows: what the rows say was recorded must be among them."""

    verify: Callable[[bytes, str], bool]
    """Checks a signature with the ledger's public key."""

    unrecorded: frozenset[str]
    """Ids of proposals whose status commit is still to be made."""

    actors: Sequence[Actor]
    token_digests: Mapping[ActorId, str]
    """Actor → the digest of its token, as its row has it; no entry where there is none."""

    problems: Mapping[str, str]
    """What could not be collected: ``ledger|head-file|git|proposals|backups`` → why. May grow while parts are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One numbered check and its answer."""

    number: int
    name: str
    ok: bool
    detail: str


def verify_story(inputs: StoryInputs) -> tuple[Check, ...]:
    """Run every check. The story holds when all are `ok`; an empty tuple never comes back."""
    ledger = _follow(inputs)
    heads = compare_head(
        inputs.db_head,
        inputs.head_file,
        inputs.trailers,
        hash_at=ledger.hashes.get,
        verify=inputs.verify,
        restored=restorations(ledger.restored),
    )
    seen = Seen(reach=_reach(inputs.later_trailers), unrecorded=inputs.unrecorded)
    for part in inputs.parts:
        seen.look_at(part)
    rows_unread = _unread(inputs, "ledger", "proposals")
    return (
        # 1. The ledger can be read whole, and is not empty.
        _check(
            1, "ledger readable", _unread(inputs, "ledger") + _readable(inputs, ledger, seen), f"{ledger.size} entries"
        ),
        # 2. Its chain holds: numbers, links, hashes, and every signature.
        _chain(inputs, ledger),
        # 3. The head file knows nothing that the database does not.
        _head_file(inputs, heads),
        # 4. Neither do the trailers of the status commits in Git, and they reach as far as the rows say.
        _trailers(inputs, heads, seen),
        # 5. Each proposal stands in the state that its entries lead to, and none is without row or entries.
        _check(
            5,
            "proposal states",
            rows_unread + seen.states,
            f"{seen.proposals} proposals stand where their entries lead",
        ),
        # 6. Its diff is the one that was recorded, byte for byte, and so is all else in its row.
        _check(
            6,
            "diffs",
            rows_unread + seen.diffs + seen.rows,
            f"{seen.proposals} diffs, and their rows, are the recorded ones",
        ),
        # 7. What was applied is what a person approved; the ledger knows every person's credential and every token.
        _check(
            7,
            "approvals",
            rows_unread
            + _unread(inputs, "actors")
            + seen.approvals
            + credentials(inputs.actors, inputs.token_digests, ledger.credentials),
            "every applied change was approved by a person, as that change",
        ),
        # 8. The backup of every applied change is there, intact, and holds what its commits hold.
        _backups(inputs, seen),
        # 9. The commits that the proposals name exist.
        _check(9, "commits", _unread(inputs, "git", "proposals") + seen.commits, f"{seen.named} named commits exist"),
        # 10. The tree that the entries make is the stored one, and the one that checkpoints saw.
        _tree(inputs, ledger),
        # 11. What a proof rests on is what a worker signed, of exactly that change.
        _check(11, "evidence", rows_unread + seen.evidence, f"{seen.attested} proofs are signed by a worker"),
    )


@dataclass(slots=True)
class _Ledger:
    """What is kept of a ledger that was read once, from its first entry to its last."""

    wanted: frozenset[int]
    tree: TreeWalk
    size: int = 0
    hashes: dict[int, str] = field(default_factory=dict)
    """Of those entries that a witness names."""

    restored: list[LedgerEntry] = field(default_factory=list)
    credentials: list[LedgerEntry] = field(default_factory=list)
    report: ChainReport = field(default_factory=lambda: ChainIntact(head=EMPTY_HEAD, checked=0))

    def passing(self, entries: Iterable[LedgerEntry]) -> Iterator[LedgerEntry]:
        for entry in entries:
            self.size += 1
            self.tree.take(entry)
            if entry.seq in self.wanted:
                self.hashes[entry.seq] = entry.entry_hash
            if entry.kind == RESTORED:
                self.restored.append(entry)
            elif entry.kind == CREDENTIAL_MADE:
                self.credentials.append(entry)
            yield entry


def _follow(inputs: StoryInputs) -> _Ledger:
    witnesses = [parse_trailer(value) for _, value in inputs.trailers]
    named = {head.size for head in (*witnesses, inputs.head_file) if head is not None}
    tree = TreeWalk(nodes=inputs.nodes, checkpoints=inputs.checkpoints, kept=inputs.kept, key=inputs.key)
    ledger = _Ledger(wanted=frozenset(named), tree=tree)
    entries = ledger.passing(inputs.entries)
    ledger.report = verify_integrity(entries, verify=inputs.verify)
    for _ in entries:  # what stands behind the first fault is evidence, too
        pass
    return ledger


def _reach(trailers: Sequence[tuple[CommitId, str]]) -> int:
    heads = [head.size for _, value in trailers if (head := parse_trailer(value)) is not None]
    return max(heads, default=0)


def _readable(inputs: StoryInputs, ledger: _Ledger, seen: Seen) -> list[str]:
    wrong = []
    if ledger.size != inputs.db_head.size:
        wrong.append(f"{ledger.size} entries were read, but the last one's number is {inputs.db_head.size}")
    if ledger.size:
        return wrong
    # INVARIANT: empty input is never a success; nothing was verified, whatever the reason.
    wrong.append("the ledger has no entry: there is nothing that could be verified")
    if seen.proposals:
        wrong.append(f"there are {seen.proposals} proposals, but no entry at all")
    return wrong


def _chain(inputs: StoryInputs, ledger: _Ledger) -> Check:
    wrong = _unread(inputs, "ledger")
    if isinstance(ledger.report, ChainBroken):
        wrong.append(ledger.report.detail)
    elif ledger.report.head != inputs.db_head and inputs.db_head != EMPTY_HEAD:
        wrong.append(f"the entries end at {ledger.report.head.size}, the database says {inputs.db_head.size}")
    return _check(2, "chain and signatures", wrong, f"{ledger.size} entries are linked, hashed and signed")


def _backups(inputs: StoryInputs, seen: Seen) -> Check:
    wrong = _unread(inputs, "backups", "proposals") + seen.backups
    return _check(8, "backups", wrong, f"{seen.applied} backups are intact")


def _tree(inputs: StoryInputs, ledger: _Ledger) -> Check:
    wrong = _unread(inputs, "ledger", "git") + ledger.tree.wrong(restorations(ledger.restored))
    return _check(10, "Merkle tree", wrong, ledger.tree.told)


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


def _trailers(inputs: StoryInputs, heads: HeadReport, seen: Seen) -> Check:
    wrong = _unread(inputs, "git", "ledger")
    wrong += [item.detail for item in heads.findings if item.commit is not None]
    if seen.recorded and not heads.trailers and "git" not in inputs.problems:
        wrong.append(f"{seen.recorded} proposals were recorded in Git, but no status commit carries a ledger head")
    elif "git" not in inputs.problems:
        wrong += seen.cut_off
    wrong += seen.records
    return _check(4, "Git trailers", wrong, f"{heads.trailers} status commits witness the same ledger")


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


def _unread(inputs: StoryInputs, *parts: str) -> list[str]:
    return [f"could not be checked: {inputs.problems[part]}" for part in parts if part in inputs.problems]


def _check(number: int, name: str, wrong: list[str], good: str) -> Check:
    if not wrong:
        return Check(number=number, name=name, ok=True, detail=good)
    more = f" (and {len(wrong) - _MAX_NAMED} more)" if len(wrong) > _MAX_NAMED else ""
    return Check(number=number, name=name, ok=False, detail="; ".join(wrong[:_MAX_NAMED]) + more)
