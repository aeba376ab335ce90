"""The self-test: each kind tried for real, and a self-test that can fail."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from sandbox_runs import isolation, ordinary_user

from homeostat.adapters.sandbox import escape_probe
from homeostat.adapters.sandbox.selftest import examine_isolation
from homeostat.adapters.sandbox.spec import Kind

MUST_WORK_OUTSIDE = {
    *("network_loopback", "unix_socket", "abstract_socket", "datagram_from_pair", "read_secret", "write_outside"),
    *("see_processes", "signal_processes", "limit_processes", "shared_memory", "memory_limit"),
}


def test_every_attempt_is_reported_for_every_usable_kind():
    wanted = {attempt.__name__ for attempt in escape_probe.ATTEMPTS}
    wanted |= {"files_outside_unchanged", "no_process_survives", "time_limit"}
    usable = [found for found in isolation().values() if found.usable]
    assert usable, "no kind of sandbox is usable on this machine"
    for found in usable:
        assert {check.name for check in found.checks} == wanted
        assert all(check.held for check in found.checks)


def test_usable_kinds_come_first_and_the_others_say_what_to_do():
    found = list(isolation().values())
    assert [i.usable for i in found] == sorted((i.usable for i in found), reverse=True)
    assert all(i.remedy for i in found if not i.usable)


def test_what_was_held_would_have_worked_outside():
    for found in isolation().values():
        if found.usable:
            worked = {check.name for check in found.checks if check.detail.endswith("works outside")}
            assert worked >= MUST_WORK_OUTSIDE


@pytest.mark.parametrize("kind", Kind)
def test_a_sandbox_with_a_hole_is_not_usable(kind):
    """The state folder is put where every sandbox must show it: that is a hole, and it is found."""
    (found,) = examine_isolation(state_folder=Path("/usr/share"), kinds=[kind])
    if isolation()[kind.value].usable:
        assert not found.usable
        assert [check.name for check in found.checks if not check.held] == ["read_state"]
        assert found.remedy


def test_nothing_is_left_behind_and_what_a_killed_one_left_is_swept(monkeypatch):
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        monkeypatch.setattr(tempfile, "tempdir", name)
        Path(name, "homeostat-proof-killed").mkdir()
        examine_isolation(state_folder=None, kinds=[Kind.LANDLOCK])
        assert list(Path(name).iterdir()) == []


def test_an_ordinary_user_gets_the_same_kinds():
    with ordinary_user() as user:
        done = user.run("-m", "homeostat.worker", "--self-test", *Kind)
    assert done.returncode == 0, done.stderr.decode()
    found = {i["name"]: i for i in json.loads(done.stdout)["isolation"]}
    if os.getuid() == 0:
        as_root = {name for name, i in isolation().items() if i.usable}
        assert {name for name, i in found.items() if i["usable"]} == as_root, found
    assert any(i["usable"] for i in found.values())


@pytest.mark.parametrize("abi", [1, 3, 5])
def test_landlock_of_an_older_kernel_holds_for_an_ordinary_user_too(abi):
    if not isolation()["landlock"].usable:
        pytest.skip("Landlock is not usable here")
    code = (
        "from homeostat.adapters.sandbox.selftest import examine_isolation\n"
        "from homeostat.adapters.sandbox.spec import Kind\n"
        f"(i,) = examine_isolation(state_folder=None, kinds=[Kind.LANDLOCK], landlock_abi={abi})\n"
        "print(i.usable, [c for c in i.checks if not c.held])"
    )
    with ordinary_user() as user:
        done = user.run("-c", code)
    assert done.stdout.decode().startswith("True"), done.stdout.decode() + done.stderr.decode()
