"""The interpreters of this machine: hosts have others than the hub."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
"""Those that the agent supports."""


THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"


def interpreter(version: str) -> str:
    """Return an interpreter of this version; the test is skipped, and says so, where the machine has none."""
    if version == THIS:
        return sys.executable
    built = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python")
    for path in [shutil.which(f"python{version}"), *sorted(map(str, built))]:
        if path and subprocess.run([path, "-c", "pass"], capture_output=True, check=False).returncode == 0:
            return path
    reason = f"Python {version} is not on this machine"
    if os.environ.get("CI"):
        pytest.xfail(reason)
    pytest.skip(reason)
