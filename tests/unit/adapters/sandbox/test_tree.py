"""Trees of real processes, counted and ended from a subreaper."""

import subprocess
import sys
from pathlib import Path

from homeostat.adapters.sandbox import tree

SUBREAPER = """
import os, sys, time
sys.path.insert(0, {source!r})
from homeostat.adapters.sandbox import kernel, tree
kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
if os.fork() == 0:
    os.setsid()
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            block = bytearray(os.urandom(1 << 20) * 8)
            while True:
                if os.fork() == 0:
                    time.sleep(60)
                os.wait() if len(tree.descendants(os.getpid())) > 2 else None
    os._exit(0)
deadline = time.monotonic() + 20
while len(tree.descendants(os.getpid())) < 9 and time.monotonic() < deadline:
    time.sleep(0.01)
print(len(tree.descendants(os.getpid())) >= 9)
print(tree.memory_bytes(tree.descendants(os.getpid())) >= 3 * 8 << 20)
print(tree.kill_descendants(os.getpid(), timeout_s=10))
print(tree.descendants(os.getpid()))
"""


def test_a_growing_tree_of_daemons_is_ended_to_the_last():
    source = str(Path(tree.__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", SUBREAPER.format(source=source)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split("\n")[:4] == ["True", "True", "True", "[]"]


def test_a_process_that_has_gone_weighs_nothing_and_has_no_descendants():
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    assert tree.descendants(child.pid) == []
    assert tree.memory_bytes([child.pid]) == 0
