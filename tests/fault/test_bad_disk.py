"""Every write of ours, one after the other, fails: the disk is full, broken, or read-only for that one call.

What is written by Python is swept here (staged files, backups, keys, index copies, archives, the head file, and
every sync); what SQLite and git write themselves is in `test_store_faults.py` and `deployed_tree/`.
Whatever write it was: the error is one of ours, nothing accepted is lost, nothing is left half done, and the
hub that starts when the disk is well again brings the change to its end.
"""

import builtins
import errno
import io
import itertools
import os
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from real_world import RealWorld

from homeostat.adapters.archive.container import opened
from homeostat.adapters.archive.saving import save_state
from homeostat.adapters.git.repository import open_repository
from homeostat.adapters.keys import load_or_create_keys
from homeostat.core.errors import HomeostatError
from homeostat.flows.applying import request_apply
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.testing.world import BOT, DIFF, OWNER, SOURCE

S = ProposalState
KINDS = (errno.ENOSPC, errno.EIO, errno.EROFS)
SAMPLED = range(2, 80, 14)
"""Writes that fail in `make test`; `make soak` tries each."""

_MOST = 2000
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGING = ("rename", "replace", "mkdir", "link", "remove", "unlink", "rmdir")


class BadDisk:
    """Lets the `at`-th write below a folder fail, and counts them."""

    def __init__(self):
        self.root, self.at, self.count, self.kind, self.failed = "", 0, 0, 0, ""

    @contextmanager
    def failing(self, root, *, at, kind):
        self.root, self.at, self.count, self.kind, self.failed = str(root), at, 0, kind, ""
        with pytest.MonkeyPatch.context() as patch:
            for name in _CHANGING:
                patch.setattr(os, name, self._changing(name, getattr(os, name)))
            patch.setattr(os, "open", self._os_open(os.open))
            for module in (io, builtins):
                patch.setattr(module, "open", self._open(module.open))
            patch.setattr(os, "fsync", self._changing("fsync", os.fsync))
            try:
                yield
            finally:
                self.root = ""

    def _changing(self, name, really):
        def called(path, *arguments, **more):
            self.write(name, "" if isinstance(path, int) else path)
            return really(path, *arguments, **more)

        return called

    def _os_open(self, really):
        def opened(path, flags, *arguments, **more):
            if flags & _WRITING:
                self.write("open", path)
            return really(path, flags, *arguments, **more)

        return opened

    def _open(self, really):
        def opened(file, mode="r", *arguments, **more):
            if not isinstance(file, int) and more.get("opener") is None and set(mode) & set("wax+"):
                self.write("open", file)
            return really(file, mode, *arguments, **more)

        return opened

    def write(self, what, path):
        """Count one write to a path below the folder, or to one that is named relative to a descriptor."""
        name = os.fsdecode(path)
        if not self.root or (name.startswith("/") and not name.startswith(self.root)):
            return
        self.count += 1
        if self.count == self.at:
            self.failed = f"{what} {name}"
            raise OSError(self.kind, os.strerror(self.kind), name)


DISK = BadDisk()


def proposing(world):
    return submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)


def applying(world):
    return request_apply(world.deps, newest(world).id, actor=OWNER, seen=None)


def reverting(world):
    return request_revert(world.deps, newest(world).id, actor=OWNER, reason="asked")


def newest(world):
    rows = world.deps.proposals.find()
    return rows[0] if rows else None


def whole_life(world, promised):
    """Propose, apply and take back; note the state that each answer promised."""
    for ask, least in ((proposing, S.PENDING), (applying, S.APPROVED), (reverting, S.REVERTING)):
        answer = ask(world)
        if not isinstance(answer, Proposal):  # the disk refused the step before, with everything as it was
            assert newest(world).state is S.FAILED, answer
            return
        promised.append((answer.id, least))
        world.run()


def bring_to_an_end(world):
    """Go on as the people would: hand in what was refused, ask again for what was not answered."""
    for _ in range(6):
        row = newest(world)
        if row is None or row.state is S.FAILED:
            proposing(world)
        elif row.state in (S.AWAITING_APPROVAL, S.APPROVED):
            applying(world)
        elif row.state is S.OBSERVING:
            reverting(world)
        elif row.state is S.REVERTED:
            return
        world.run()
        world.restart()
    raise AssertionError(f"it comes to no end: {newest(world).state}: {newest(world).state_reason}")


REACHED = {
    S.PENDING: frozenset(S),
    S.APPROVED: frozenset(S) - {S.PENDING, S.VALIDATING, S.AWAITING_APPROVAL},
    S.REVERTING: frozenset({S.REVERTING, S.REVERTED}),
}


def one_bad_write(tmp_path, at):
    """Let one write of a whole life fail; return whether there were so many."""
    world, promised = RealWorld(tmp_path), []
    kind = KINDS[at % len(KINDS)]
    with DISK.failing(tmp_path, at=at, kind=kind):
        try:
            whole_life(world, promised)
        except HomeostatError as error:
            assert error.message and not isinstance(error, OSError)
        met = DISK.failed
    where = f"write {at}, {errno.errorcode[kind]}: {met}"
    world.reopen()
    for identity, least in promised:
        row = world.row(identity)
        assert row is not None, f"{where}: what was accepted is lost"
        assert row.state in REACHED[least] | {S.FAILED}, f"{where}: {row.state} after it was {least}"
    assert [item for item in world.violations() if item.level == "fail"] == [], where
    bring_to_an_end(world)
    assert world.disk() == world.runs() == SOURCE, where
    assert world.unverified() == [], where
    assert [item for item in world.violations() if item.level == "fail"] == [], where
    status = subprocess.run(
        ["git", "-C", world.root, "status", "--porcelain"], capture_output=True, text=True, check=True
    )
    assert status.stdout == "", where
    assert not list(world.root.rglob("*.homeostat-*")), where
    world.close()
    return bool(met)


@pytest.mark.parametrize("at", SAMPLED)
def test_a_life_that_meets_a_bad_disk_is_lived_to_its_end(tmp_path, at):
    assert one_bad_write(tmp_path, at)


@pytest.mark.matrix
@pytest.mark.timeout(3600)
def test_a_life_meets_a_bad_disk_at_every_single_write(tmp_path):
    for at in itertools.count(1):
        if not one_bad_write(tmp_path / str(at), at):
            assert at > 40, "the sweep saw hardly any write"
            return
        assert at < _MOST


def test_an_archive_that_cannot_be_written_is_not_there_and_the_next_one_is_whole(tmp_path):
    world = RealWorld(tmp_path / "place")
    out = tmp_path / "kept.tar"
    proposing(world)
    world.run()

    def save():
        return save_state(
            repository=open_repository(world.root),
            state_dir=world.state_dir,
            out=out,
            at=datetime.now(UTC),
            with_keys=True,
            tell=lambda _text: None,
        )

    tried = 0
    for at in range(1, _MOST):
        with DISK.failing(tmp_path, at=at, kind=KINDS[at % len(KINDS)]):
            try:
                save()
            except HomeostatError as error:
                assert error.message and not out.exists(), DISK.failed
                assert list(tmp_path.glob(".homeostat-backup-*")) == [], DISK.failed
            else:
                assert out.exists()
            met = DISK.failed
        if not met:
            break
        tried += 1
        out.unlink(missing_ok=True)
    assert tried >= 5
    with opened(out, verify=load_or_create_keys(world.state_dir).signer.verify) as archive:
        assert archive.manifest.ledger_size == world.deps.ledger.head().size
    world.close()


def test_keys_that_cannot_be_written_are_none_or_whole(tmp_path):
    for at in range(1, _MOST):
        place = tmp_path / str(at) / ".homeostat"
        place.parent.mkdir()
        with DISK.failing(tmp_path, at=at, kind=KINDS[at % len(KINDS)]):
            try:
                load_or_create_keys(place)
            except HomeostatError as error:
                assert error.message
            met = DISK.failed
        signature = load_or_create_keys(place).signer.sign(b"x")
        assert load_or_create_keys(place).signer.verify(b"x", signature), met
        if not met:
            assert at > 5
            return
