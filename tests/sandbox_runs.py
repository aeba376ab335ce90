"""Real sandboxed runs for tests, in every kind that this machine can make."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import homeostat_agent
import pytest

import homeostat
from homeostat.adapters.sandbox.identity import unprivileged_uid
from homeostat.adapters.sandbox.interpreter import read_interpreter
from homeostat.adapters.sandbox.layout import Site, lay_out
from homeostat.adapters.sandbox.run import Ended, run_in_sandbox
from homeostat.adapters.sandbox.spec import Kind, Limits, SandboxSpec
from homeostat.adapters.worker_process import WorkerProver
from homeostat.model.verdict import Denied
from homeostat.ports.proving import Isolation

LIMITS = Limits(timeout_s=20.0, memory_mb=256, tree_memory_mb=400, max_processes=24, file_mb=64)
ORDINARY_UID = 12345
_SYSTEM_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")


@functools.cache
def isolation() -> Mapping[str, Isolation]:
    """Return what the self-test says of this machine."""
    with tempfile.TemporaryDirectory() as state:
        return {found.name: found for found in WorkerProver(state_dir=Path(state)).isolation()}


def require(kind: Kind) -> None:
    """Skip a test whose kind of sandbox cannot be had here (which fails in CI)."""
    found = isolation()[kind.value]
    if not found.usable:
        pytest.skip(f"{kind.value} is not usable here: {[c.detail for c in found.checks if not c.held]}")


def system_python() -> str:
    """Return a Python 3.11 or later that every user can run, for runs as another user."""
    candidates = _SYSTEM_PYTHONS if os.getuid() == 0 else (sys.executable,)
    for python in candidates:
        if Path(python).exists() and read_interpreter(python).version >= (3, 11):
            return python
    pytest.skip("there is no Python 3.11 that an ordinary user could run")


def python_for(kind: Kind) -> str:
    """Return an interpreter that can be shown in this kind: root without mounts needs the system's."""
    return system_python() if kind is Kind.LANDLOCK and os.getuid() == 0 else sys.executable


class Place:
    """The folders of one run, below a folder that other users may pass through."""

    def __init__(self, folder: Path, repository: str = "/srv/homeostat-test/repository") -> None:
        self.folder = folder
        for name in ("tree", "results", "private", "probe", "staging"):
            (folder / name).mkdir(mode=0o755)
        self.site = Site(
            repository=repository,
            tree=str(folder / "tree"),
            results=str(folder / "results"),
            private=str(folder / "private"),
            probe=str(folder / "probe"),
            staging=str(folder / "staging"),
        )

    def spec(
        self, kind: Kind, *command: str, limits: Limits = LIMITS, env: Mapping[str, str] | None = None, python: str = ""
    ) -> SandboxSpec | Denied:
        return lay_out(
            kind,
            site=self.site,
            interpreter=read_interpreter(python or python_for(kind)),
            command=command,
            extra_env=env or {},
            limits=limits,
            uid=unprivileged_uid(),
        )


@contextmanager
def place(repository: str = "/srv/homeostat-test/repository") -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="homeostat-test-"))
    folder.chmod(0o711)
    try:
        yield Place(folder, repository)
    finally:
        shutil.rmtree(folder)


def run_code(
    kind: Kind, code: str, *, output_chars: int = 10_000, landlock_abi: int | None = None, **limits: float
) -> Ended:
    """Run Python code in this kind of sandbox and return how it ended."""
    with place() as made:
        spec = made.spec(kind, "python", "-c", code, limits=replace(LIMITS, **limits))  # type: ignore[arg-type]
        assert isinstance(spec, SandboxSpec), spec
        return run_in_sandbox(replace(spec, landlock_abi=landlock_abi), output_chars=output_chars)


@contextmanager
def ordinary_user() -> Iterator["OrdinaryUser"]:
    """Give a user who is not root, with our code where that user can read it and a home to lose."""
    with tempfile.TemporaryDirectory(prefix="homeostat-user-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for module in (homeostat, homeostat_agent):
            source = Path(module.__file__ or "").parent
            shutil.copytree(source, folder / "code" / source.name, ignore=shutil.ignore_patterns("__pycache__", "demo"))
        home = folder / "home"
        home.mkdir()
        if os.getuid() == 0:
            os.chown(home, ORDINARY_UID, ORDINARY_UID)
        yield OrdinaryUser(folder, home)


class OrdinaryUser:
    """Runs programs under a uid that is not 0: the one we are, or one that root turns into."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.home = home
        self._folder = folder

    def run(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run the system's Python with these arguments as that user."""
        drop = {"user": ORDINARY_UID, "group": ORDINARY_UID, "extra_groups": []} if os.getuid() == 0 else {}
        return subprocess.run(
            [system_python(), *words],
            input=stdin,
            capture_output=True,
            timeout=100,
            check=False,
            cwd=self.home,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.home), "PYTHONPATH": f"{self._folder}/code"},
            **drop,
        )
