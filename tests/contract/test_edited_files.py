"""What flows may count on of `EditedFiles`: on the fake, and on a real folder of a real repository."""

import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from agents_harness import wait_for

from homeostat.adapters.edited_files import MAX_SOURCE_BYTES, DiskEditedFiles
from homeostat.model.reload import Unreadable
from homeostat.testing.memory_files import MemoryEditedFiles


class Memory:
    def __init__(self):
        self.files = MemoryEditedFiles(lambda: datetime.now(UTC))
        self.write, self.delete = self.files.write, self.files.delete

    def git(self, *, at_work):
        self.files.let_git_work(at_work=at_work)


class Disk:
    def __init__(self, root):
        self.root = root
        subprocess.run(["git", "init", "--quiet", str(root)], check=True)
        self.files = DiskEditedFiles(root)

    def write(self, path, text):
        # As the clock of a file system goes in ticks, two writes within one would have one stamp.
        before = self.files.stamps([path])[path]
        data = text.encode() if isinstance(text, str) else text

        def written():
            (self.root / path).write_bytes(data)
            return self.files.stamps([path])[path] != before

        wait_for(written)

    def delete(self, path):
        (self.root / path).unlink()

    def git(self, *, at_work):
        lock = self.root / ".git" / "index.lock"
        lock.touch() if at_work else lock.unlink()


@pytest.fixture(params=["memory", "disk"])
def place(request, tmp_path):
    return Memory() if request.param == "memory" else Disk(tmp_path)


def test_what_was_written_is_read_and_has_another_stamp(place):
    place.write("a.py", "one")
    first = place.files.stamps(["a.py"])["a.py"]
    assert (place.files.read("a.py"), first.size) == (b"one", 3)
    place.write("a.py", "two")
    assert place.files.read("a.py") == b"two"
    assert place.files.stamps(["a.py"])["a.py"] != first


def test_the_stamp_stays_while_nothing_is_written(place):
    place.write("a.py", "one")
    assert place.files.stamps(["a.py"]) == place.files.stamps(["a.py"])


def test_the_stamp_tells_when_it_was_written(place):
    before = datetime.now(UTC) - timedelta(seconds=1)
    place.write("a.py", "one")
    assert before <= place.files.stamps(["a.py"])["a.py"].changed_at <= datetime.now(UTC) + timedelta(seconds=1)


def test_a_file_that_is_not_there_has_no_stamp_and_says_so(place):
    place.write("a.py", "one")
    place.delete("a.py")
    assert place.files.stamps(["a.py", "b.py"]) == {"a.py": None, "b.py": None}
    assert isinstance(place.files.read("a.py"), Unreadable)


def test_git_at_work_is_seen(place):
    assert not place.files.git_is_at_work()
    place.git(at_work=True)
    assert place.files.git_is_at_work()
    place.git(at_work=False)
    assert not place.files.git_is_at_work()


# What only a disk can do


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path)


def test_a_time_that_a_tool_set_back_hides_no_change(disk):
    disk.write("a.py", "one")
    before = disk.files.stamps(["a.py"])["a.py"]
    os.utime(disk.root / "a.py", (1, 1))
    after = disk.files.stamps(["a.py"])["a.py"]
    assert after != before and after.changed_at >= before.changed_at


def test_a_folder_a_pipe_and_a_loop_of_links_are_no_files_and_hold_nothing_up(disk):
    (disk.root / "folder.py").mkdir()
    os.mkfifo(disk.root / "pipe.py")
    (disk.root / "loop.py").symlink_to("loop.py")
    names = ["folder.py", "pipe.py", "loop.py"]
    assert disk.files.stamps(names) == dict.fromkeys(names)
    assert all(isinstance(disk.files.read(name), Unreadable) for name in names)  # a pipe would block for ever


def test_a_link_stands_for_what_it_leads_to(disk):
    disk.write("real.py", "one")
    (disk.root / "link.py").symlink_to("real.py")
    before = disk.files.stamps(["link.py"])["link.py"]
    disk.write("real.py", "two")
    assert disk.files.read("link.py") == b"two"
    assert disk.files.stamps(["link.py"])["link.py"] != before


def test_a_file_of_a_hundred_megabytes_is_not_read(disk):
    with (disk.root / "big.py").open("wb") as file:
        file.truncate(100 << 20)
    found = disk.files.read("big.py")
    assert isinstance(found, Unreadable) and str(MAX_SOURCE_BYTES) in found.reason


def test_a_file_that_may_not_be_read_says_so_and_can_be_when_it_may(disk):
    disk.write("a.py", "one")
    disk.root.chmod(0o755)
    (disk.root / "a.py").chmod(0)
    as_root = os.geteuid() == 0
    before = disk.files.stamps(["a.py"])["a.py"]
    if as_root:
        os.seteuid(65534)  # whom permissions bind
    try:
        found = disk.files.read("a.py")
    finally:
        if as_root:
            os.seteuid(0)
    # Where a folder above may not be entered, that is what is in the way.
    assert isinstance(found, Unreadable) and "Permission denied" in found.reason
    (disk.root / "a.py").chmod(0o644)
    assert disk.files.read("a.py") == b"one"
    assert disk.files.stamps(["a.py"])["a.py"] != before


def test_a_linked_work_tree_has_its_own_lock(disk, tmp_path_factory):
    def git(*words):
        subprocess.run(["git", "-C", str(disk.root), "-c", "user.name=o", "-c", "user.email=o@l", *words], check=True)

    git("commit", "--quiet", "--allow-empty", "-m", "begin")
    linked = tmp_path_factory.mktemp("linked") / "tree"
    git("worktree", "add", "--quiet", str(linked))
    files = DiskEditedFiles(linked)
    assert not files.git_is_at_work()
    (disk.root / ".git" / "worktrees" / "tree" / "index.lock").touch()
    assert files.git_is_at_work()
    assert not disk.files.git_is_at_work()


def test_a_link_that_leads_out_of_the_checkout_or_to_the_keys_is_not_read(tmp_path):
    root = tmp_path / "checkout"
    place = Disk(root)
    for folder in (tmp_path / "outside", root / ".homeostat", root / "shop"):
        folder.mkdir()
    (tmp_path / "outside" / "key").write_text("secret")
    (root / ".homeostat" / "key").write_text("secret")
    (root / "shop" / "cart.py").write_text("code")
    for name, leads_to in (("a", tmp_path / "outside" / "key"), ("b", ".homeostat/key"), ("c", "shop/cart.py")):
        (root / name).symlink_to(leads_to)
    (root / "folder").symlink_to(tmp_path / "outside")
    for path in ("a", "b", "folder/key", "../outside/key"):
        assert isinstance(place.files.read(path), Unreadable), path
    assert place.files.read("c") == b"code"
