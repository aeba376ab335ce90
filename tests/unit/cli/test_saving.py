"""`homeostat backup` and `homeostat restore`: everything comes back, or nothing is touched and the reason is said."""

import errno
import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
from pathlib import Path

import pytest
from real_world import RealWorld

from homeostat.adapters.policies import load_authorizer
from homeostat.adapters.state_lock import hold_state
from homeostat.cli import checks
from homeostat.model.proposal import ProposalState
from homeostat.testing.world import MENDED, SOURCE

S = ProposalState
MORE = "--- a/other.py\n+++ b/other.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = RealWorld(tmp_path)
    monkeypatch.chdir(made.root)
    yield made
    made.close()


def keep(world, typed, tmp_path):
    world.file = tmp_path / "kept.tar"
    answer = typed("backup", "--out", world.file)
    assert answer.code == 0, answer.err


@pytest.fixture
def kept(world, typed, tmp_path):
    """A world with one applied change, and a backup of it made while the hub was at work."""
    world.identity = world.propose()
    world.apply(world.identity)
    keep(world, typed, tmp_path)
    return world


def restored(world, typed, *options):
    """Restore with the hub stopped; return the answer, with the next hub at work."""
    world.close()
    answer = typed("restore", world.file, "--json", *options)
    world.open()
    if answer.code == 0:
        world.restart()
    return answer


def giving_up(world, typed):
    """Restore what loses entries, as the refusal says."""
    refused = restored(world, typed)
    assert refused.code == 3 and "restore-loses-entries" in refused.err, refused.err
    answer = restored(world, typed, "--accept-lost", refused.err.rsplit("--accept-lost ", 1)[1].strip())
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_a_backup_is_private_whole_and_said_to_hold_keys(kept, typed):
    assert stat.S_IMODE(kept.file.stat().st_mode) == 0o600
    with tarfile.open(kept.file) as tar:
        names = tar.getnames()
    assert names[:2] == ["manifest.json", "manifest.sig"]
    assert {"state/homeostat.sqlite", "state/ledger-head.json", "records.bundle"} <= set(names)
    assert {"state/keys/ledger.ed25519", "state/keys/owner.token"} <= set(names)
    assert any(name.startswith("state/backups/") for name in names)
    assert not [
        name for name in map(str, kept.file.parent.iterdir()) if name.endswith(".part") or ".homeostat-backup" in name
    ]
    other = typed("backup", "--out", kept.file.with_name("other.tar"), "--without-keys")
    assert "without the keys" in other.err
    with tarfile.open(kept.file.with_name("other.tar")) as tar:
        assert [name for name in tar.getnames() if "/keys/" in name] == ["state/keys/ledger.pub"]


def test_a_backup_never_takes_the_place_of_another_file(kept, typed):
    before = kept.file.read_bytes()
    answer = typed("backup", "--out", kept.file)
    assert (answer.code, "backup-file-exists" in answer.err) == (3, True)
    assert kept.file.read_bytes() == before


def test_without_a_state_there_is_nothing_to_back_up(typed, repository):
    answer = typed("backup")
    assert (answer.code, "nothing-to-back-up" in answer.err) == (1, True)
    assert not (repository / ".homeostat").exists()


def test_a_lost_state_directory_comes_back_whole(kept, typed):
    kept.close()
    shutil.rmtree(kept.state_dir)
    answer = typed("restore", kept.file, "--json")
    assert answer.code == 0, answer.err
    kept.open()
    body = json.loads(answer.out)
    assert (body["lost_entries"], body["settled"], body["put_aside"]) == (0, [], None)
    assert kept.unverified() == []
    assert kept.violations() == ()
    assert stat.S_IMODE(kept.state_dir.stat().st_mode) == 0o700
    kept.revert(kept.identity)
    assert (kept.row(kept.identity).state, kept.disk(), kept.runs()) == (S.REVERTED, SOURCE, SOURCE)
    assert kept.unverified() == []


@pytest.mark.parametrize("name", ["homeostat.sqlite", "keys", "backups", "ledger-head.json"])
def test_a_half_deleted_state_directory_comes_back_and_what_was_left_is_put_aside(kept, typed, name):
    kept.close()
    lost = kept.state_dir / name
    if lost.is_dir():
        shutil.rmtree(lost)
    else:
        lost.unlink()
    answer = typed("restore", kept.file, "--json")
    assert answer.code == 0, answer.err
    kept.open()
    aside = json.loads(answer.out)["put_aside"]
    assert aside.startswith(f"{kept.state_dir}.before-restore-") and Path(aside).is_dir()
    assert kept.user.git("status", "--porcelain") == b""
    assert kept.unverified() == [] and kept.violations() == ()


def test_it_is_refused_while_a_hub_works_on_the_state(kept, typed):
    let_go = hold_state(kept.state_dir)
    before = sorted(kept.root.iterdir())
    answer = typed("restore", kept.file)
    assert (answer.code, "hub-running" in answer.err) == (3, True)
    assert sorted(kept.root.iterdir()) == before
    let_go()


def test_entries_that_would_be_lost_are_named_and_must_be_given_up_by_their_number(kept, typed):
    other = kept.propose("Mend more", diff=MORE)
    before = kept.deps.ledger.head().size
    answer = restored(kept, typed)
    assert (answer.code, "restore-loses-entries" in answer.err) == (3, True)
    assert other in answer.err
    lost = int(answer.err.rsplit("--accept-lost ", 1)[1])
    assert lost >= 3 and kept.deps.ledger.head().size == before
    assert restored(kept, typed, "--accept-lost", lost + 1).code == 3
    answer = restored(kept, typed, "--accept-lost", lost)
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["lost_entries"] == lost
    assert kept.row(other) is None
    assert kept.unverified() == [], "a lawful restoration is no tampering"
    assert 8 in [item.number for item in kept.violations()], "the code branch of the lost proposal is named"
    kept.propose("Mend more", diff=MORE)
    assert kept.unverified() == []


def test_what_is_lost_without_a_restoration_is_still_tampering(kept, typed):
    """The old database by hand, with the same key: the ledger does not say that anybody gave entries up."""
    kept.close()
    old = {name: (kept.state_dir / name).read_bytes() for name in ("homeostat.sqlite", "ledger-head.json")}
    kept.open()
    kept.propose("Mend more", diff=MORE)
    kept.close()
    for side in ("-wal", "-shm"):
        (kept.state_dir / f"homeostat.sqlite{side}").unlink(missing_ok=True)
    for name, content in old.items():
        (kept.state_dir / name).write_bytes(content)
    kept.open()
    assert 4 in [check.number for check in kept.unverified()]


def test_a_status_commit_that_came_after_the_restoration_is_not_explained_by_it(kept, typed):
    kept.propose("Mend more", diff=MORE)
    giving_up(kept, typed)
    kept.restart()
    assert kept.unverified() == []
    head = kept.user.head("homeostat/proposals")
    message = f"forged\n\nHomeostat-Ledger: {kept.deps.ledger.head().size}:" + "e" * 64
    forged = kept.user.git("commit-tree", f"{head}^{{tree}}", "-p", head, "-m", message).decode().strip()
    kept.user.git("update-ref", "refs/heads/homeostat/proposals", forged)
    assert 4 in [check.number for check in kept.unverified()]


def test_a_change_that_was_taken_back_after_the_backup_is_reverted_in_the_restored_row(kept, typed):
    kept.revert(kept.identity)
    (line,) = giving_up(kept, typed)["settled"]
    assert "was observing, is reverted" in line
    assert kept.row(kept.identity).state is S.REVERTED
    assert kept.disk() == SOURCE
    assert kept.unverified() == [] and kept.violations() == ()


def test_a_change_that_was_applied_after_the_backup_waits_for_a_restart_and_is_watched(world, typed, tmp_path):
    identity = world.propose()
    keep(world, typed, tmp_path)
    world.apply(identity)
    giving_up(world, typed)
    row = world.row(identity)
    assert row.state is S.AWAITING_RESTART and row.review.unreviewed
    assert world.disk() == MENDED
    assert world.unverified() == [] and world.violations() == ()
    world.revert(identity)
    assert (world.row(identity).state, world.disk()) == (S.REVERTED, SOURCE)
    assert world.unverified() == []


def test_a_change_that_was_applied_and_taken_back_after_the_backup_stays_locked_out(world, typed, tmp_path):
    identity = world.propose()
    keep(world, typed, tmp_path)
    world.apply(identity)
    world.revert(identity)
    giving_up(world, typed)
    assert world.row(identity).state is S.REVERTED
    assert world.unverified() == [] and world.violations() == ()


def test_a_change_whose_commit_is_gone_from_the_branch_is_not_called_applied(kept, typed):
    kept.user.git("reset", "--quiet", "--hard", "HEAD~1")
    answer = restored(kept, typed)
    assert answer.code == 0, answer.err
    row = kept.row(kept.identity)
    assert row.state is S.FAILED and "not in the branch" in row.state_reason
    assert kept.unverified() == []


def test_a_change_of_a_proposal_that_was_lost_altogether_is_named(world, typed, tmp_path):
    world.propose("Something else", diff=MORE)
    keep(world, typed, tmp_path)
    identity = world.propose()
    world.apply(identity)
    commit = world.row(identity).application.commit
    (line,) = giving_up(world, typed)["unknown_changes"]
    assert f"git revert {commit[:12]}" in line
    assert world.unverified() == []


def test_the_branch_of_the_records_is_made_again_where_it_is_gone(kept, typed):
    before = kept.user.head("homeostat/proposals")
    kept.user.git("update-ref", "-d", "refs/heads/homeostat/proposals")
    answer = restored(kept, typed)
    assert answer.code == 0, answer.err
    kept.user.git("merge-base", "--is-ancestor", before, "homeostat/proposals")
    assert kept.unverified() == []


def test_a_backup_without_keys_needs_those_that_are_there(kept, typed, tmp_path):
    kept.file = tmp_path / "keyless.tar"
    assert typed("backup", "--out", kept.file, "--without-keys").code == 0
    answer = restored(kept, typed)
    assert answer.code == 0, answer.err
    assert kept.unverified() == []
    kept.close()
    keys = kept.state_dir / "keys"
    keys.rename(tmp_path / "keys")
    answer = typed("restore", kept.file)
    assert (answer.code, "keys-not-kept" in answer.err) == (1, True), answer.err
    (tmp_path / "keys").rename(keys)
    kept.open()


@pytest.mark.parametrize("harm", ["flipped", "cut", "no-tar", "other-manifest", "added", "unsigned", "sparse"])
def test_a_damaged_or_altered_backup_is_refused_and_nothing_is_moved(kept, typed, tmp_path, harm):
    damage(kept.file, harm, tmp_path)
    before = sorted(kept.root.iterdir())
    kept.close()
    head = (kept.state_dir / "ledger-head.json").read_bytes()
    answer = typed("restore", kept.file)
    assert answer.code == 5 and "error[backup-file-damaged]" in answer.err, answer.err
    assert "nothing was changed" in answer.err
    assert sorted(kept.root.iterdir()) == before
    assert (kept.state_dir / "ledger-head.json").read_bytes() == head
    kept.open()


def damage(file, harm, tmp_path):
    content = bytearray(file.read_bytes())
    if harm == "flipped":
        content[content.index(b"SQLite format 3") + 5000] ^= 1
        file.write_bytes(content)
    elif harm == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif harm == "no-tar":
        file.write_bytes(b"this is no tar file" * 100)
    elif harm == "other-manifest":
        place = content.index(b'"entry_hash":"') + 14
        content[place] = ord("1") if content[place] == ord("0") else ord("0")
        file.write_bytes(content)
    elif harm == "sparse":
        with tarfile.open(file) as tar:
            members = [(item, tar.extractfile(item).read()) for item in tar]
        with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
            for item, data in members:
                if item.name.endswith(".sqlite"):  # 8 TB, of which the first bytes are there
                    item.pax_headers = {
                        "GNU.sparse.major": "0",
                        "GNU.sparse.minor": "1",
                        "GNU.sparse.map": f"0,{len(data)}",
                        "GNU.sparse.size": str(8 << 40),
                    }
                tar.addfile(item, io.BytesIO(data))
    elif harm == "added":
        extra = tmp_path / "extra"
        extra.write_text("x")
        with tarfile.open(file, "a") as tar:
            tar.add(extra, "state/../../evil")
    else:
        with tarfile.open(file) as tar:
            signature = tar.extractfile("manifest.sig").read()
        file.write_bytes(bytes(content).replace(signature, b"A" * (len(signature) - 2) + b"=="))


def test_a_backup_of_another_ledger_is_refused(kept, typed, tmp_path):
    other = RealWorld(tmp_path / "other")
    other.close()
    kept.close()
    before = (other.state_dir / "ledger-head.json").read_bytes()
    answer = typed("restore", kept.file, "--repo", other.root)
    assert answer.code == 5 and "not signed by this ledger's key" in answer.err
    assert (other.state_dir / "ledger-head.json").read_bytes() == before
    kept.open()


def tampered(world, typed, tmp_path):
    """Propose, alter the row behind the ledger's back, and keep that; the hub is stopped afterwards."""
    identity = world.propose()
    world.close()
    database = sqlite3.connect(world.state_dir / "homeostat.sqlite")
    database.execute("UPDATE proposals SET document = replace(document, 'why', 'because')")
    database.commit()
    database.close()
    world.open()
    keep(world, typed, tmp_path)
    world.close()
    return identity


def test_a_kept_state_that_was_tampered_with_before_is_not_put_in_place(world, typed, tmp_path):
    identity = tampered(world, typed, tmp_path)
    answer = typed("restore", world.file)
    assert answer.code == 5 and "restore-not-verified" in answer.err and identity in answer.err
    world.open()


def test_a_restoration_that_is_refused_leaves_git_without_the_branch_that_it_made_again(world, typed, tmp_path):
    tampered(world, typed, tmp_path)
    world.user.git("update-ref", "-d", "refs/heads/homeostat/proposals")
    answer = typed("restore", world.file)
    assert answer.code == 5 and "restore-not-verified" in answer.err and "made again" in answer.err
    assert world.user.git("for-each-ref", "refs/heads/homeostat/proposals") == b""
    world.open()


def test_doctor_agrees_after_a_restoration(kept, typed):
    assert restored(kept, typed).code == 0
    place = checks.Place(repository=kept.root, state_dir=kept.state_dir)
    found = {}
    for item in checks._diagnose(place):
        found[item.name] = item.level
        if item.name == "consistency":
            break
    assert (found["ledger"], found["consistency"]) == ("ok", "ok")


def test_a_restoration_that_the_disk_does_not_vouch_for_says_where_everything_is(kept, typed, monkeypatch):
    """The two folders have changed places already: to say that nothing happened would be wrong."""
    really = os.fsync

    def fsync(descriptor):
        exchanged = any(kept.root.glob(".homeostat.before-restore-*"))
        if exchanged and os.path.samestat(os.fstat(descriptor), kept.root.stat()):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    kept.close()
    answer = typed("restore", kept.file)
    assert answer.code == 6 and "restore-not-synced" in answer.err
    (aside,) = kept.root.glob(".homeostat.before-restore-*")
    assert str(aside) in " ".join(answer.err.split()) or aside.name in answer.err.replace("\n", "")
    monkeypatch.undo()
    monkeypatch.chdir(kept.root)
    kept.open()
    assert kept.row(kept.identity).state is S.OBSERVING and kept.unverified() == []


def test_a_restoration_that_cannot_be_exchanged_leaves_what_was_there(kept, typed, monkeypatch):
    really, state_dir = Path.rename, kept.state_dir

    def rename(self, target):
        if Path(target) == state_dir and "before-restore" not in self.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return really(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    kept.close()
    answer = typed("restore", kept.file)
    assert answer.code == 4 and "restore-not-written" in answer.err
    assert not list(kept.root.glob(".homeostat.before-restore-*"))
    kept.open()
    assert kept.row(kept.identity).state is S.OBSERVING and kept.unverified() == []


ADDED = '@id("quiet")\nforbid (principal, action == Action::"restart", resource);\n'


def add_policy(world, name):
    folder = world.state_dir / "policies"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / name).write_text(ADDED.replace("quiet", name.partition(".")[0]))
    (folder / name).chmod(0o600)


def policies(world):
    return sorted(path.name for path in (world.state_dir / "policies").iterdir())


def test_added_policies_come_back_where_there_are_none(world, typed, tmp_path):
    add_policy(world, "kept.cedar")
    keep(world, typed, tmp_path)
    shutil.rmtree(world.state_dir / "policies")
    assert restored(world, typed).code == 0
    assert policies(world) == ["kept.cedar"] and "kept" in load_authorizer(world.state_dir).ids
    assert stat.S_IMODE((world.state_dir / "policies").stat().st_mode) == 0o700


def test_an_older_state_opens_nothing_that_was_forbidden_since(world, typed, tmp_path):
    add_policy(world, "kept.cedar")
    keep(world, typed, tmp_path)
    (world.state_dir / "policies" / "kept.cedar").unlink()
    add_policy(world, "newer.cedar")
    assert restored(world, typed).code == 0
    assert policies(world) == ["newer.cedar"] and "newer" in load_authorizer(world.state_dir).ids
