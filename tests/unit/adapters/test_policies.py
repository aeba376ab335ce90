"""Added policies come from the state directory alone, and from nobody but the one who runs the hub."""

import os

import pytest
from builders import BOT

from homeostat.adapters.policies import built_in_authorizer, load_authorizer
from homeostat.core.errors import InvalidInput, Unavailable
from homeostat.model.settings import Profile
from homeostat.policy.authorization import Action, Question

OPENS = '@id("agents-reject")\npermit (principal is Agent, action == Action::"reject", resource);\n'


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "policies"
    folder.mkdir(mode=0o700)
    return folder


def write(path, text=OPENS, mode=0o600):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)


def test_without_a_folder_there_are_the_built_in_ones(tmp_path):
    assert load_authorizer(tmp_path).digest == built_in_authorizer().digest


def test_a_file_adds_to_them(folder):
    write(folder / "mine.cedar")
    write(folder / "notes.txt", "no policy")
    added = load_authorizer(folder.parent)
    assert set(added.ids) - set(built_in_authorizer().ids) == {"agents-reject"}
    assert added.digest != built_in_authorizer().digest
    assert added.answer(Question(actor=BOT, action=Action.REJECT, profile=Profile.STANDARD)).allowed


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_reach_is_refused(folder, mode):
    write(folder / "mine.cedar", mode=mode)
    with pytest.raises(Unavailable) as refused:
        load_authorizer(folder.parent)
    assert refused.value.code == "state-dir-not-private" and "mine.cedar" in refused.value.message


def test_a_folder_that_others_can_enter_is_refused(folder):
    folder.chmod(0o755)
    with pytest.raises(Unavailable):
        load_authorizer(folder.parent)


def test_a_link_to_a_folder_elsewhere_is_refused(tmp_path, folder):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "policies").symlink_to(folder)
    with pytest.raises(Unavailable):
        load_authorizer(state)


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder", "bytes", "huge"])
def test_what_is_no_plain_text_file_is_refused_by_name_and_not_waited_for(folder, kind):
    path = folder / "mine.cedar"
    if kind == "link":
        write(folder / "other", OPENS)
        path.symlink_to(folder / "other")
    elif kind == "dangling":
        path.symlink_to(folder / "nothing")
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    elif kind == "folder":
        path.mkdir(mode=0o700)
    else:
        write(path, b"// \xff\n" if kind == "bytes" else b"/" * (1 << 20))
    with pytest.raises(InvalidInput) as refused:
        load_authorizer(folder.parent)
    assert refused.value.code == "bad-policy" and str(path) in refused.value.message


def test_the_line_of_a_broken_policy_is_named(folder):
    write(folder / "mine.cedar", OPENS + "\npermit (principal is Nobody, action, resource);\n")
    with pytest.raises(InvalidInput, match=r"mine\.cedar:4: "):
        load_authorizer(folder.parent)


@pytest.mark.parametrize("name", ["a b.cedar", "ä.cedar", "x\n.cedar", "a" * 120 + ".cedar"])
def test_a_name_that_no_backup_could_keep_is_refused(folder, name):
    write(folder / name)
    with pytest.raises(InvalidInput, match="its name has"):
        load_authorizer(folder.parent)
