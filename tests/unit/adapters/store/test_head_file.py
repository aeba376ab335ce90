"""The head file: written in place, always with one whole line in it."""

import pytest

from homeostat.adapters.store.head_file import HeadFile
from homeostat.audit.head import HEAD_LINE_BYTES, encode_head, parse_head
from homeostat.model.ledger import LedgerHead


def head(size):
    return LedgerHead(size=size, entry_hash=f"{size:064x}", signature="A" * 88)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger-head.json"


def lines(path):
    data = path.read_bytes()
    assert len(data) == 2 * HEAD_LINE_BYTES
    found = (data[:HEAD_LINE_BYTES], data[HEAD_LINE_BYTES:])
    return {parse_head(line).size for line in found if line.strip()}


def test_the_newest_head_is_written_over_the_older_one_and_never_over_the_newest(path):
    file = HeadFile(path)
    assert file.read() is None
    file.advance(head(1))
    assert (file.read(), lines(path)) == (head(1), {1})
    before, inode = 1, path.stat().st_ino
    for size in (2, 4, 6, 7, 30):
        file.advance(head(size))
        assert (file.read(), lines(path)) == (head(size), {before, size})
        before = size
    assert path.stat().st_ino == inode
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_head_that_is_behind_is_not_written(path):
    file = HeadFile(path)
    for size in (5, 3, 5):
        file.advance(head(size))
    assert lines(path) == {5}


@pytest.mark.parametrize(
    "found",
    [
        encode_head(head(3)).rstrip() + b"\n",  # as it was written before there were two lines
        encode_head(head(3)),
        encode_head(head(3))[:40],
        b"",
        b"x" * 5000,
        b"x" * 2 * HEAD_LINE_BYTES,
    ],
)
def test_whatever_was_there_the_next_head_is_read_back(path, found):
    path.write_bytes(found)
    file = HeadFile(path)
    file.advance(head(4))
    file.advance(head(5))
    assert (file.failures, file.read()) == (0, head(5))
    assert lines(path) == {4, 5}


@pytest.mark.parametrize("torn", range(0, HEAD_LINE_BYTES, 37))
def test_wherever_a_write_is_torn_the_head_before_it_is_there(path, torn):
    file = HeadFile(path)
    for size in (1, 2, 3):
        file.advance(head(size))
    data = path.read_bytes()
    at = data.index(encode_head(head(2)))
    path.write_bytes(data[:at] + encode_head(head(4))[:torn] + data[at + torn :])
    assert file.read() in (head(3), head(4))
    again = HeadFile(path)
    again.advance(head(5))
    assert again.read() == head(5)


def test_a_link_in_its_place_is_not_followed(path, tmp_path):
    target = tmp_path / "elsewhere"
    target.write_bytes(b"keep")
    path.symlink_to(target)
    file = HeadFile(path)
    file.advance(head(1))
    assert file.failures == 1
    assert target.read_bytes() == b"keep"
