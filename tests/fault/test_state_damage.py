"""Parts of the state directory are deleted, cut short, replaced, opened to others, or older than the rest.

Whatever it is: a hub that starts, `homeostat verify` and `homeostat doctor` say what is wrong and what to
do, no ledger is begun anew in silence, nothing is made where something was lost, and a backup brings it back.
"""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from real_world import RealWorld

from homeostat.adapters.clock import HubClock
from homeostat.adapters.flows_file import check_flows
from homeostat.adapters.git.records import GitRecordBranch
from homeostat.adapters.git.repository import open_repository
from homeostat.adapters.keys import load_or_create_keys
from homeostat.adapters.state_lock import hold_state
from homeostat.cli import checks
from homeostat.cli.main import run
from homeostat.core.errors import HomeostatError
from homeostat.hub.wiring import _check_witnesses, _open_store


@dataclass(frozen=True)
class Damage:
    """What was done to the state directory, and what must be said of it."""

    do: Callable
    up: str = ""
    """The code with which a hub refuses to start; empty: it starts."""

    verify: frozenset = frozenset()
    """Numbers of the checks that fail; with 0, no check could be made at all."""


def gone(*names):
    def do(state):
        for name in names:
            for path in state.glob(name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return do


def content(name, change):
    def do(state):
        for side in ("-wal", "-shm"):
            (state / f"{name}{side}").unlink(missing_ok=True)
        (state / name).write_bytes(change((state / name).read_bytes()))

    return do


def garbage(_):
    return b"\x00\xffthis is nothing that anybody wrote\n" * 50


def half(data):
    return data[: len(data) // 2]


def nothing(_):
    return b""


def mode(name, bits):
    return lambda state: (state / name).chmod(bits)


def older(*names):
    """Put back what these files were before the last proposal."""

    def do(state):
        gone("homeostat.sqlite-*")(state)
        for name in names:
            shutil.copy(state.parent.parent / "older" / name, state / name)

    return do


def flip_a_snapshot(state):
    (file,) = state.glob("backups/*/*/before/0000")
    file.write_bytes(file.read_bytes().replace(b"PRICES", b"prices"))


def pipe(*names):
    """Put a pipe in the place of each of these: whoever opens and reads it as a file waits for ever."""

    def do(state):
        for name in names:
            for path in list(state.glob(name)):
                path.unlink()
                os.mkfifo(path, 0o600)

    return do


DATABASE = "homeostat.sqlite*"
ALL = frozenset(range(1, 10))
DAMAGES = {
    "nothing": Damage(do=lambda state: None),
    "keys-gone": Damage(do=gone("keys"), up="ledger-key-missing", verify=frozenset({0})),
    "private-key-gone": Damage(do=gone("keys/ledger.ed25519"), up="ledger-key-missing"),
    "public-key-gone": Damage(do=gone("keys/ledger.pub"), verify=frozenset({0})),
    "private-key-garbage": Damage(do=content("keys/ledger.ed25519", garbage), up="key-damaged"),
    "public-key-garbage": Damage(do=content("keys/ledger.pub", garbage), up="key-damaged", verify=frozenset({0})),
    "agent-key-gone": Damage(do=gone("keys/agent.key")),
    "agent-key-short": Damage(do=content("keys/agent.key", half), up="key-damaged"),
    "token-garbage": Damage(do=content("keys/owner.token", garbage), up="key-damaged"),
    "token-empty": Damage(do=content("keys/owner.token", nothing), up="key-damaged"),
    "key-open-to-others": Damage(do=mode("keys/ledger.ed25519", 0o644), up="state-dir-not-private"),
    "keys-open-to-others": Damage(do=mode("keys", 0o755), up="state-dir-not-private"),
    "state-open-to-others": Damage(do=mode(".", 0o755), up="state-dir-not-private"),
    "database-gone": Damage(do=gone(DATABASE), up="database-missing", verify=frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9})),
    "database-garbage": Damage(do=content("homeostat.sqlite", garbage), up="store-corrupt", verify=ALL),
    "database-half": Damage(do=content("homeostat.sqlite", half), up="store-corrupt", verify=ALL),
    "database-empty": Damage(do=content("homeostat.sqlite", nothing), up="ledger-truncated", verify=ALL),
    "database-older": Damage(do=older("homeostat.sqlite"), up="ledger-truncated", verify=frozenset({3, 4, 10})),
    "database-and-head-older": Damage(
        do=older("homeostat.sqlite", "ledger-head.json"), up="ledger-truncated", verify=frozenset({4, 10})
    ),
    "head-gone": Damage(do=gone("ledger-head.json"), verify=frozenset({3})),
    "head-garbage": Damage(do=content("ledger-head.json", garbage), up="ledger-head-unreadable", verify=frozenset({3})),
    "head-empty": Damage(do=content("ledger-head.json", nothing), up="ledger-head-unreadable", verify=frozenset({3})),
    "head-older": Damage(do=older("ledger-head.json")),
    "head-pipe": Damage(do=pipe("ledger-head.json"), up="head-file-unreadable", verify=frozenset({3})),
    "private-key-pipe": Damage(do=pipe("keys/ledger.ed25519"), up="key-damaged"),
    "public-key-pipe": Damage(do=pipe("keys/ledger.pub"), up="state-dir-unusable", verify=frozenset({0})),
    "token-pipe": Damage(do=pipe("keys/owner.token"), up="key-damaged"),
    "snapshot-pipe": Damage(do=pipe("backups/*/*/before/0000"), verify=frozenset({8})),
    "manifest-pipe": Damage(do=pipe("backups/*/*/manifest.json"), verify=frozenset({8})),
    "snapshots-gone": Damage(do=gone("backups"), verify=frozenset({8})),
    "snapshot-altered": Damage(do=flip_a_snapshot, verify=frozenset({8})),
    "flows-gone": Damage(do=gone("flows.sqlite")),
    "flows-garbage": Damage(do=content("flows.sqlite", garbage), up="flows-damaged"),
    "flows-half": Damage(do=content("flows.sqlite", half), up="flows-damaged"),
    "run-gone": Damage(do=gone("run")),
    "ignore-file-gone": Damage(do=gone(".gitignore")),
}
OF_NO_USE_TO_DOCTOR = ("nothing", "head-older", "flows-gone", "run-gone", "ignore-file-gone", "agent-key-gone")


SAMPLE = ("nothing", "private-key-gone", "database-half", "flows-garbage", "snapshots-gone")


def sampled(names):
    """These take a second each: a few always, all of them in `make soak`."""
    return [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.matrix) for name in names]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A state with an applied change and a waiting proposal, an older copy of it, and a backup."""
    root = tmp_path_factory.mktemp("pristine")
    world = RealWorld(root)
    world.apply(world.propose())
    world.close()
    shutil.copytree(world.state_dir, root / "older")
    world.open()
    world.propose("More", diff="--- a/other.py\n+++ b/other.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n")
    world.close()
    make_flows(world.state_dir / "flows.sqlite")
    assert run(["backup", "--repo", str(world.root), "--out", str(root / "kept.tar")]) == 0
    return root


def make_flows(path):
    import sqlite3

    database = sqlite3.connect(path)
    database.execute("CREATE TABLE workflows (id TEXT PRIMARY KEY, what TEXT)")
    database.executemany("INSERT INTO workflows VALUES (?, ?)", [(f"w-{n}", "x" * 200) for n in range(200)])
    database.commit()
    database.close()


@pytest.fixture
def damaged(pristine, tmp_path):
    """Return a function that damages a copy of the state, and returns the repository."""

    def harm(damage):
        shutil.copytree(pristine, tmp_path / "copy", symlinks=True)
        root = tmp_path / "copy" / "shop"
        damage.do(root / ".homeostat")
        return root

    return harm


def begin(root):
    """Do what a hub does before it serves: keys, lock, store, witnesses, workflows."""
    state = root / ".homeostat"
    with ExitStack() as undo:
        keys = load_or_create_keys(state)
        undo.callback(hold_state(state))
        git = open_repository(root)
        store = _open_store(state, keys, HubClock(), undo)
        _check_witnesses(store, GitRecordBranch(git))
        check_flows(state / "flows.sqlite")
        return store.ledger.head().size


def files_of(root):
    """Return what there is of secrets and data; side files of an open database apart."""
    state = root / ".homeostat"
    return {
        str(path.relative_to(state)): path.read_bytes()
        for path in sorted(state.rglob("*"))
        if path.is_file() and "-wal" not in path.name and "-shm" not in path.name and path.name != "hub.lock"
    }


@pytest.mark.parametrize("name", DAMAGES)
def test_a_hub_starts_or_says_why_not_and_begins_nothing_anew(damaged, name):
    damage = DAMAGES[name]
    root = damaged(damage)
    before = files_of(root)
    if not damage.up:
        assert begin(root) > 5, "it is the same ledger"
        return
    with pytest.raises(HomeostatError) as caught:
        begin(root)
    error = caught.value
    assert error.code == damage.up, str(error)
    assert error.hint, "it says what to do"
    after = files_of(root)
    made = {path for path in after if path not in before and not path.startswith("keys/ledger.pub")}
    assert made <= {".gitignore"}, "nothing was made where something was lost"
    assert {path: content for path, content in before.items() if after[path] != content and content} == {}


@pytest.mark.parametrize("name", DAMAGES)
def test_verify_names_what_does_not_hold_and_writes_nothing(damaged, name, capsys):
    damage = DAMAGES[name]
    root = damaged(damage)
    before = files_of(root)
    code = run(["verify", "--repo", str(root), "--json"])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert files_of(root) == before
    if 0 in damage.verify:
        assert code in (4, 5) and "error[" in said.err and "hint:" in said.err
        return
    failed = {check["number"] for check in json.loads(said.out)["checks"] if not check["ok"]}
    assert (code, bool(failed)) == ((5, True) if damage.verify else (0, False)), failed
    assert damage.verify == ALL or failed == damage.verify


@pytest.mark.parametrize("name", sampled(DAMAGES))
def test_doctor_names_it_and_looks_at_everything_else_all_the_same(damaged, name):
    root = damaged(DAMAGES[name])
    found = {}
    for item in checks._diagnose(checks.Place(repository=root, state_dir=root / ".homeostat")):
        found.setdefault(item.name, item)
        if item.name == "separation":
            break
    assert found["repository"].level == "ok"
    bad = [item for item in found.values() if item.level == "fail" and item.name != "tests"]
    if name in OF_NO_USE_TO_DOCTOR:
        assert bad == []
    else:
        assert bad and all(item.detail for item in bad), found


@pytest.mark.parametrize("name", sampled(name for name in DAMAGES if DAMAGES[name].up and "open" not in name))
def test_a_backup_brings_it_back(damaged, pristine, name, capsys):
    root = damaged(DAMAGES[name])
    code = run(["restore", "--repo", str(root), str(pristine / "kept.tar")])
    assert code == 0, capsys.readouterr().err
    assert begin(root) > 5
    assert run(["verify", "--repo", str(root)]) == 0
