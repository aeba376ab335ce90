"""The head file: written in place, and read while it is written."""

import threading

import pytest

from homeostat.adapters.store.head_file import HeadFile, read_head_file
from homeostat.audit.head import HEAD_BYTES, encode_head
from homeostat.core.errors import IntegrityFailure
from homeostat.model.ledger import LedgerHead


def head(size):
    return LedgerHead(size=size, entry_hash=f"{size:064x}", signature="A" * 88)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger-head.json"


def test_each_head_is_written_over_the_one_before_in_the_same_file(path):
    file = HeadFile(path)
    assert file.read() is None
    file.advance(head(1))
    inode = path.stat().st_ino
    for size in (2, 4, 7, 10**15):
        file.advance(head(size))
        assert path.read_bytes() == encode_head(head(size))
        assert file.read() == head(size)
    assert (path.stat().st_ino, path.stat().st_size) == (inode, HEAD_BYTES)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_head_that_is_behind_is_not_written(path):
    file = HeadFile(path)
    for size in (5, 3, 5):
        file.advance(head(size))
    assert file.read() == head(5)


@pytest.mark.parametrize(
    "found", [encode_head(head(3)).rstrip() + b"\n", encode_head(head(3))[:40], b"", b"x" * 5000, b"x" * HEAD_BYTES]
)
def test_whatever_was_there_the_next_head_is_read_back(path, found):
    """A file as earlier versions wrote it is one of these."""
    path.write_bytes(found)
    file = HeadFile(path)
    file.advance(head(4))
    assert (file.failures, file.read(), path.stat().st_size) == (0, head(4), HEAD_BYTES)


@pytest.mark.parametrize("place", range(0, HEAD_BYTES, 7))
def test_no_byte_of_it_can_change_unseen(path, place):
    HeadFile(path).advance(head(4))
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    try:
        assert read_head_file(path) != head(4)
    except IntegrityFailure as failure:
        assert failure.code == "ledger-head-unreadable"


def test_whoever_reads_while_it_is_written_reads_a_whole_head(path):
    file = HeadFile(path)
    file.advance(head(1))
    read = []
    done = threading.Event()

    def watch():
        while not done.is_set():
            read.append(read_head_file(path).size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for size in range(2, 200):
        file.advance(head(size))
    done.set()
    watcher.join()
    assert read == sorted(read)


def test_a_link_in_its_place_is_not_followed(path, tmp_path):
    target = tmp_path / "elsewhere"
    target.write_bytes(b"keep")
    path.symlink_to(target)
    file = HeadFile(path)
    file.advance(head(1))
    assert file.failures == 1
    assert target.read_bytes() == b"keep"
