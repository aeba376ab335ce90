"""Runs a part of a test in a process of its own, with little in memory.

What looks through the whole process takes as long as there is memory to look through, and that of a
process full of tests is many times that of a program. Errors and warnings of the child are the test's.
"""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_PROGRAM = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("in_small_process", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
getattr(module, sys.argv[2])(*sys.argv[3:])
"""


def run_in_small_process(function: Callable[..., None], *arguments: str | Path, timeout_s: float = 280) -> None:
    """Call a module-level function with these arguments, as strings; what it raises fails the caller."""
    file = inspect.getsourcefile(inspect.unwrap(function))
    assert file is not None
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROGRAM, file, function.__name__, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.stdout.write(done.stdout)
