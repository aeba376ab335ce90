"""The host's repository in memory, with faults on demand; for tests and simulation.

It obeys the contract suite that real Git obeys. Branch, index and checkout are separate values, and
a move goes through them one step at a time, so that a test can fail, lie or die between any two.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from homeostat.adapters.git.move import difference
from homeostat.adapters.git.paths import Sides, check_deployable, check_path, sides_of
from homeostat.adapters.git.records import record_message
from homeostat.adapters.git.repository import OWN_PREFIX
from homeostat.core.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown, Unavailable
from homeostat.core.ids import CommitId, ProposalId, parse_proposal_id
from homeostat.model.change import REGULAR, FileState, TreeChange
from homeostat.ports.repository import Drift, Merged
from homeostat.testing.merged_files import git_diff, merge_files

_RECORDS = f"{OWN_PREFIX}proposals"


class Fault(StrEnum):
    FAIL = "fail"
    """`Unavailable`; nothing was done."""

    LIE = "lie"
    """`OutcomeUnknown`, though everything was done."""


class SimulatedDeath(BaseException):
    """The process is gone. Not an `Exception`: no handler of ours may catch it."""


@dataclass(slots=True)
class Faults:
    """What goes wrong in the next calls. Each fault happens once.

    `calls` is by method: ``candidate``, ``publish``, ``prepare``, ``advance``, ``retreat``, ``save``.
    """

    calls: dict[str, Fault] = field(default_factory=dict)
    die_after_steps: int | None = None
    """Die after this many more steps of a move; 0: before the first."""

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        fault = self.calls.pop(call, None)
        if fault is Fault.FAIL:
            raise Unavailable("injected", f"{call}: the call did nothing")
        yield
        if fault is Fault.LIE:
            raise OutcomeUnknown("injected", f"{call}: it was done all the same")

    def step(self) -> None:
        if self.die_after_steps is not None:
            if self.die_after_steps == 0:
                self.die_after_steps = None
                raise SimulatedDeath
            self.die_after_steps -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCommit:
    tree: Mapping[str, FileState]
    parent: CommitId | None
    message: str
    at: datetime


@dataclass(slots=True)
class MemoryRepository:
    """Everything there is, and what the user does to it. The ports are the classes below."""

    faults: Faults = field(default_factory=Faults)
    deployed: str = "main"
    commits: dict[CommitId, MemoryCommit] = field(default_factory=dict)
    branches: dict[str, CommitId] = field(default_factory=dict)
    index: dict[str, FileState] = field(default_factory=dict)
    disk: dict[str, FileState] = field(default_factory=dict)
    half_moved: bool = False
    """A move was left half done: the real one leaves ``index.lock`` then, and the user's git commits nothing."""

    def user_commit(self, files: Mapping[str, FileState | None], *, at: datetime, message: str = "work") -> CommitId:
        """Do what a user does: write these files (None: remove), add and commit them on the deployed branch."""
        head = self.branches.get(self.deployed)
        tree = dict(self.commits[head].tree) if head is not None else {}
        for target in (tree, self.index, self.disk):
            _write(target, files)
        commit = self.add(tree, parent=head, message=message, at=at)
        self.branches[self.deployed] = commit
        return commit

    def add(self, tree: Mapping[str, FileState], *, parent: CommitId | None, message: str, at: datetime) -> CommitId:
        """Store a commit. Its id covers everything in it, as Git's does."""
        digest = hashlib.sha1(usedforsecurity=False)
        for path in sorted(tree):
            content = hashlib.sha256(tree[path].content).hexdigest()
            digest.update(f"{path!r} {tree[path].mode:o} {content}\n".encode())
        digest.update(f"{parent} {int(at.timestamp())} {message.rstrip()!r}".encode())
        commit = CommitId(digest.hexdigest())
        self.commits[commit] = MemoryCommit(tree=dict(tree), parent=parent, message=message.rstrip(), at=at)
        return commit

    def at(self, commit: str) -> MemoryCommit:
        try:
            return self.commits[CommitId(commit)]
        except KeyError as error:
            raise NotFound("unknown-object", f"there is no commit {commit[:12]}") from error

    def history(self, commit: CommitId | None) -> Iterator[CommitId]:
        """Yield a commit and those before it, newest first."""
        while commit is not None:
            yield commit
            commit = self.at(commit).parent

    def changed(self, parent: CommitId, change: TreeChange, *, message: str, at: datetime) -> CommitId:
        sides = sides_of(change)
        base = self.at(parent).tree
        if any(base.get(path) != item.before for path, item in sides.items()):
            raise Conflict("base-differs", f"at {parent[:12]} the change's base is not found")
        tree = dict(base)
        _write(tree, {path: item.after for path, item in sides.items()})
        return self.add(tree, parent=parent, message=message, at=at)


class MemoryCommitReader:
    """`homeostat.ports.repository.CommitReader` in memory."""

    def __init__(self, repository: MemoryRepository) -> None:
        self._repository = repository

    def deployed_branch(self) -> str:
        return self._repository.deployed

    def head(self) -> CommitId:
        head = self._repository.branches.get(self._repository.deployed)
        if head is None:
            raise InvalidInput("no-commits", "the deployed branch has no commits yet")
        return head

    def resolve(self, revision: str) -> CommitId:
        if revision == "HEAD":
            return self.head()
        if revision in self._repository.branches:
            return self._repository.branches[revision]
        found = [commit for commit in self._repository.commits if len(revision) >= 4 and commit.startswith(revision)]
        if len(found) != 1:
            raise NotFound("unknown-commit", f"`{revision[:60]}` names no commit, or more than one")
        return found[0]

    def read_files(self, commit: CommitId, paths: Sequence[str]) -> Mapping[str, FileState | None]:
        tree = self._repository.at(commit).tree
        for path in paths:
            check_path(path)
            if any(name.startswith(path + "/") for name in tree):
                raise InvalidInput("not-a-file", f"`{path}` is a folder, not a file")
        return {path: tree.get(path) for path in paths}

    def list_files(self, commit: CommitId) -> Sequence[str]:
        return sorted(self._repository.at(commit).tree)

    def is_ancestor(self, ancestor: CommitId, of: CommitId) -> bool:
        self._repository.at(ancestor)
        return ancestor in self._repository.history(of)


class MemoryCommitMerger:
    """`homeostat.ports.repository.CommitMerger` in memory; what both sides changed is left to git's own merge."""

    def __init__(self, repository: MemoryRepository) -> None:
        self._repository = repository

    def merge(self, *, into: CommitId, other: CommitId) -> Merged:
        known = set(self._repository.history(into))
        common = next((commit for commit in self._repository.history(other) if commit in known), None)
        if common is None:
            raise Conflict("no-common-commit", f"{into[:12]} and {other[:12]} have no commit in common")
        base, ours, theirs = (self._repository.at(commit).tree for commit in (common, into, other))
        diff, conflicts = [], []
        for path in sorted({*base, *ours, *theirs}):
            sides = (base.get(path), ours.get(path), theirs.get(path))
            merged, clean = merge_files(*sides)
            diff.append(git_diff(path, sides[1], merged))
            if not clean:
                conflicts.append(path)
        return Merged(diff="".join(diff).encode(), conflicts=tuple(conflicts))


class MemoryCandidateBranch:
    """`homeostat.ports.repository.CandidateBranch` in memory."""

    def __init__(self, repository: MemoryRepository) -> None:
        self._repository = repository

    def commit(
        self, *, proposal_id: ProposalId, base: CommitId, change: TreeChange, message: str, at: datetime
    ) -> CommitId:
        with self._repository.faults.around("candidate"):
            commit = self._repository.changed(base, change, message=message, at=at)
            self._repository.branches[self._branch(proposal_id)] = commit
        return commit

    def delete(self, proposal_id: ProposalId) -> None:
        self._repository.branches.pop(self._branch(proposal_id), None)

    def proposals(self) -> Sequence[ProposalId]:
        prefix = f"{OWN_PREFIX}proposal-"
        return [ProposalId(name.removeprefix(prefix)) for name in self._repository.branches if name.startswith(prefix)]

    @staticmethod
    def _branch(proposal_id: ProposalId) -> str:
        return f"{OWN_PREFIX}proposal-{parse_proposal_id(proposal_id)}"


class MemoryRecordBranch:
    """`homeostat.ports.repository.RecordBranch` in memory."""

    def __init__(self, repository: MemoryRepository) -> None:
        self._repository = repository
        self._trailers: dict[CommitId, Mapping[str, str]] = {}

    def publish(
        self, *, files: Mapping[str, bytes], subject: str, trailers: Mapping[str, str], at: datetime
    ) -> CommitId:
        repository = self._repository
        if not files:
            raise InvalidInput("bad-record", "a record has at least one file")
        message = record_message(subject, trailers)
        for path in files:
            check_path(path)
        with repository.faults.around("publish"):
            head = repository.branches.get(_RECORDS)
            tree = dict(repository.at(head).tree) if head is not None else {}
            tree.update({path: FileState(content=content, mode=REGULAR) for path, content in files.items()})
            if head is not None and repository.at(head).tree == tree and repository.at(head).message == message:
                return head
            commit = repository.add(tree, parent=head, message=message, at=at)
            repository.branches[_RECORDS] = commit
            self._trailers[commit] = dict(trailers)
        return commit

    def read(self, path: str) -> bytes | None:
        check_path(path)
        head = self._repository.branches.get(_RECORDS)
        state = None if head is None else self._repository.at(head).tree.get(path)
        return None if state is None else state.content

    def trailers(self, key: str) -> Sequence[tuple[CommitId, str]]:
        head = self._repository.branches.get(_RECORDS)
        history = [] if head is None else list(self._repository.history(head))
        return [(commit, self._trailers[commit][key]) for commit in history if key in self._trailers[commit]]


class MemoryDeployedTree:
    """`homeostat.ports.repository.DeployedTree` in memory, in the steps and the order of the real one."""

    def __init__(self, repository: MemoryRepository) -> None:
        self._repository = repository

    def drift(self, change: TreeChange) -> Sequence[Drift]:
        sides = sides_of(change)
        check_deployable(sides)
        head = self._repository.at(self._repository.branches[self._repository.deployed]).tree
        found = []
        for path, item in sides.items():
            for place in (head, self._repository.disk):
                if place.get(path) != item.before:
                    found.append(Drift(path=path, problem=difference(path in place, item.before is not None)))
                    break
            else:
                if self._repository.index.get(path) != item.before:
                    found.append(Drift(path=path, problem="staged"))
        return found

    def prepare(self, *, parent: CommitId, change: TreeChange, message: str, at: datetime) -> CommitId:
        check_deployable(sides_of(change))
        with self._repository.faults.around("prepare"):
            return self._repository.changed(parent, change, message=message, at=at)

    def advance(self, *, expected: CommitId, commit: CommitId, change: TreeChange) -> None:
        with self._repository.faults.around("advance"):
            self._move(expected, commit, sides_of(change), forward=True)

    def retreat(self, *, expected: CommitId, commit: CommitId, change: TreeChange) -> None:
        with self._repository.faults.around("retreat"):
            self._move(commit, expected, sides_of(change.inverse()), forward=False)

    def _move(self, source: CommitId, target: CommitId, sides: Mapping[str, Sides], *, forward: bool) -> None:
        self._repository.half_moved = True
        try:
            self._move_locked(source, target, sides, forward=forward)
        except Exception:  # not the process's death: that leaves the lock
            self._repository.half_moved = False
            raise
        self._repository.half_moved = False

    def _move_locked(self, source: CommitId, target: CommitId, sides: Mapping[str, Sides], *, forward: bool) -> None:
        check_deployable(sides)
        repository = self._repository
        expected_tree = dict(repository.at(source).tree)
        _write(expected_tree, {path: item.after for path, item in sides.items()})
        if expected_tree != repository.at(target).tree:
            raise InvalidInput("commit-differs", "the two commits do not differ by this change")
        head = repository.branches[repository.deployed]
        index_done = all(repository.index.get(path) == item.after for path, item in sides.items())
        if head not in (source, target):
            self._settle(head, target if forward else source, sides, forward=forward)
            return
        if head == target and index_done:
            return
        foreign = [
            path
            for path, item in sides.items()
            if not {_key(repository.disk.get(path)), _key(repository.index.get(path))}
            <= {_key(item.before), _key(item.after)}
        ]
        if foreign:
            if head == target:
                kept = {path: item for path, item in sides.items() if path not in foreign}
                self._carry_out(source, {path: item.before for path, item in kept.items()})
            raise Conflict("dirty-files", f"changed in the checkout: {foreign}", facts={"paths": "\n".join(foreign)})
        self._carry_out(target, {path: item.after for path, item in sides.items()})

    def _carry_out(self, target: CommitId, files: Mapping[str, FileState | None]) -> None:
        repository = self._repository
        repository.faults.step()
        repository.branches[repository.deployed] = target
        for path, state in files.items():
            repository.faults.step()
            _write(repository.disk, {path: state})
        repository.faults.step()
        _write(repository.index, files)
        repository.faults.step()

    def _settle(self, head: CommitId, commit: CommitId, sides: Mapping[str, Sides], *, forward: bool) -> None:
        repository = self._repository
        if (commit in repository.history(head)) == forward:
            places = (repository.at(head).tree, repository.index, repository.disk)
            if all(place.get(path) == item.after for place in places for path, item in sides.items()):
                return
        raise Conflict("base-moved", f"the deployed branch is at {head[:12]}")


class MemoryBackupStore:
    """`homeostat.ports.repository.BackupStore` in memory."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.kept: dict[str, tuple[TreeChange, Mapping[str, str]]] = {}

    def save(self, *, name: str, change: TreeChange, facts: Mapping[str, str]) -> None:
        with self.faults.around("save"):
            if self.kept.setdefault(name, (change, dict(facts))) != (change, dict(facts)):
                raise Conflict("backup-exists", f"the snapshot `{name}` holds another change")

    def load(self, name: str) -> TreeChange:
        if name not in self.kept:
            raise NotFound("unknown-backup", f"there is no snapshot `{name}`")
        return self.kept[name][0]


def _write(target: dict[str, FileState], files: Mapping[str, FileState | None]) -> None:
    for path, state in files.items():
        if state is None:
            target.pop(path, None)
        else:
            target[path] = state


def _key(state: FileState | None) -> tuple[bytes, int] | None:
    return None if state is None else (state.content, state.mode)
