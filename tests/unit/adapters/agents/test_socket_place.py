"""Where the agents' door stands."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from homeostat.adapters.agents.socket_place import MAX_PATH_BYTES, Door, choose_socket_path, private_folder
from homeostat.core.errors import Unavailable


@pytest.fixture
def short():
    """A folder whose path is short, wherever the tests keep theirs."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="hs-") as folder:
        yield Path(folder)


def deep(folder):
    path = folder
    while len(os.fsencode(path)) < MAX_PATH_BYTES:
        path = path / "quite-a-long-name"
    return path / ".homeostat"


def test_a_short_state_directory_has_its_door_inside(short):
    state = short / ".homeostat"
    assert choose_socket_path(state) == state / "run" / "agent.sock"


def test_a_deep_one_has_it_in_the_runtime_folder_where_it_can_be_bound(short):
    path = choose_socket_path(deep(short), environ={"XDG_RUNTIME_DIR": str(short)})
    assert path.parent.parent == short
    assert len(os.fsencode(path)) <= MAX_PATH_BYTES
    door = Door(path)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    door.close()


def test_two_deep_ones_have_two_doors_and_each_always_the_same(short):
    environ = {"XDG_RUNTIME_DIR": str(short)}
    first, second = deep(short / "a"), deep(short / "b")
    assert choose_socket_path(first, environ=environ) == choose_socket_path(first, environ=environ)
    assert choose_socket_path(first, environ=environ) != choose_socket_path(second, environ=environ)


def test_where_every_folder_is_too_deep_it_is_refused(tmp_path, monkeypatch):
    too_deep = deep(tmp_path)
    too_deep.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(too_deep))
    with pytest.raises(Unavailable) as refused:
        choose_socket_path(too_deep, environ={"XDG_RUNTIME_DIR": str(too_deep)})
    assert refused.value.code == "agent-socket-path"


def test_a_link_to_a_folder_is_no_private_folder(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(Unavailable):
        private_folder(tmp_path / "link")


def test_a_folder_of_somebody_else_is_no_private_folder(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder somebody else's")
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 12345, 12345)
    with pytest.raises(Unavailable):
        private_folder(tmp_path / "theirs")


def test_a_socket_left_over_by_a_killed_hub_is_replaced(short):
    path = short / "agent.sock"
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(str(path))
    left_over.close()
    door = Door(path)
    assert door.stands()
    door.close()


def test_closing_does_not_remove_what_somebody_else_put_in_the_place(short):
    path = short / "agent.sock"
    door = Door(path)
    path.unlink()
    path.write_text("theirs")
    assert not door.stands()
    door.close()
    door.close()
    assert path.read_text() == "theirs"
