"""The folder of a proof goes away, whatever was done in it and whoever died."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from homeostat.adapters.sandbox.folder import proof_folder, remove_tree, sweep_stale_folders


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_gone_afterwards(temporary):
    with proof_folder() as folder:
        assert folder.parent == temporary
        (folder / "x").mkdir()
    assert list(temporary.iterdir()) == []


def test_it_is_gone_after_an_error(temporary):
    with pytest.raises(ValueError, match="x"), proof_folder():
        raise ValueError("x")
    assert list(temporary.iterdir()) == []


def test_others_may_pass_through_it_but_not_look_around(temporary):
    with proof_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o711


def test_a_folder_in_use_is_not_swept(temporary):
    with proof_folder() as folder:
        assert sweep_stale_folders() == 0
        assert folder.exists()


def test_the_folder_of_a_killed_worker_is_swept(temporary):
    code = (
        f"import sys, tempfile; sys.path[:0] = {sys.path!r}; tempfile.tempdir = {str(temporary)!r}\n"
        "from homeostat.adapters.sandbox.folder import proof_folder\n"
        "with proof_folder() as folder:\n (folder / 'tree').mkdir(); print('up', flush=True); sys.stdin.read()"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"up\n"
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert len(list(temporary.iterdir())) == 1
    assert sweep_stale_folders() == 1
    assert list(temporary.iterdir()) == []


def test_the_empty_folder_of_one_killed_before_it_made_the_lock_is_swept(temporary):
    Path(tempfile.mkdtemp(prefix="homeostat-proof-"))
    assert sweep_stale_folders() == 1
    assert list(temporary.iterdir()) == []


def test_folders_are_made_and_removed_beside_sweeps(temporary):
    makers, sweepers = 2, 2
    stop = threading.Event()

    def make() -> None:
        for _ in range(400):
            with proof_folder() as folder:
                (folder / "tree").mkdir()
                (folder / "tree" / "file").write_text("")

    def sweep() -> int:
        swept = 0
        while not stop.is_set():
            swept += sweep_stale_folders()
        return swept

    with ThreadPoolExecutor(makers + sweepers) as pool:
        sweeping = [pool.submit(sweep) for _ in range(sweepers)]
        try:
            for made in [pool.submit(make) for _ in range(makers)]:
                made.result()
        finally:
            stop.set()
        for swept in sweeping:
            swept.result()
    assert list(temporary.iterdir()) == []


def test_folders_and_links_of_others_are_left_alone(temporary, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (temporary / "homeostat-proof-link").symlink_to(elsewhere)
    (temporary / "homeostat-proof-file").write_text("")
    (temporary / "something-else").mkdir()
    assert sweep_stale_folders() == 0
    assert elsewhere.exists()
    assert (temporary / "something-else").exists()


def test_a_deep_and_closed_tree_is_removed(temporary):
    folder = temporary / "deep"
    folder.mkdir()
    (folder / "closed").mkdir()
    (folder / "closed" / "file").write_text("")
    (folder / "closed").chmod(0)
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(1100):  # deeper than Python recurses, and a longer path than the kernel takes
        os.mkdir("deep", dir_fd=handle)
        below = os.open("deep", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    remove_tree(folder)
    assert not folder.exists()


def test_a_link_in_the_tree_is_removed_and_not_followed(temporary, tmp_path_factory):
    kept = tmp_path_factory.mktemp("kept")
    (kept / "file").write_text("")
    folder = temporary / "tree"
    folder.mkdir()
    (folder / "link").symlink_to(kept)
    remove_tree(folder)
    assert (kept / "file").exists()
