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
from homeostat.adapters.sandbox.identity import unprivileged_uid, write_identity
from homeostat.adapters.sandbox.interpreter import read_interpreter
from homeostat.adapters.sandbox.layout import Site, lay_out
from homeostat.adapters.sandbox.run import Ended, Zygote, run_in_sandbox
from homeostat.adapters.sandbox.spec import Kind, Limits, SandboxSpec
from homeostat.adapters.worker_process import WorkerProver
from homeostat.core.ids import CommitId, parse_commit_id
from homeostat.model.verdict import Denied
from homeostat.ports.proving import Isolation, ProofJob

LIMITS = Limits(timeout_s=20.0, memory_mb=256, tree_memory_mb=400, max_processes=24, file_mb=64)
ORDINARY_UID = 12345
_SYSTEM_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")


@functools.cache
def isolation() -> Mapping[str, Isolation]:
    """Return what the self-test says of this machine."""
    with tempfile.TemporaryDirectory() as state:
        return {found.name: found for found in WorkerProver(state_dir=Path(state)).isolation()}


@functools.cache
def zygote() -> Zygote:
    """Return the one zygote of this test process; it ends with it."""
    return Zygote()


def run_spec(spec: SandboxSpec, *, output_chars: int = 1000) -> Ended:
    return run_in_sandbox(spec, zygote=zygote(), output_chars=output_chars)


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
            identity=write_identity(folder / "identity", unprivileged_uid()),
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
        return run_spec(replace(spec, landlock_abi=landlock_abi), output_chars=output_chars)


class Shop:
    """A host's repository with its own environment, a defect on base and a candidate that mends it."""

    def __init__(self, root: Path, *, python: str = sys.executable) -> None:
        self.root = root
        (root / "src" / "shop").mkdir(parents=True)
        self.git("init", "--quiet")
        self.write("src/shop/__init__.py", "")
        self.write("src/shop/price.py", "def price(n):\n    return 3\n")
        self.write(
            "tests/test_price.py",
            "import unittest\nfrom shop.price import price\nclass T(unittest.TestCase):\n"
            "    def test_one(self): self.assertEqual(price(1), 3)\n"
            "    def test_two(self): self.assertEqual(price(2), 6)\n",
        )
        self.write(".gitignore", ".venv\n.homeostat\n")
        self.write(".homeostat/keys/owner.token", "secret")
        venv = [python, "-m", "venv", "--without-pip", str(root / ".venv")]
        subprocess.run(venv, check=True, capture_output=True)
        packages = next((root / ".venv").glob("lib/python*/site-packages"))
        (packages / "shop.pth").write_text(f"{root}/src\n")  # what an editable install leaves
        self.packages = packages
        self.base = self.commit()
        self.candidate = self.change(**{"src/shop/price.py": "def price(n):\n    return 3 * n\n"})

    def install_pytest(self) -> None:
        """Give the environment pytest and what it needs: without the plug-ins of ours, which take seconds to load."""
        library = Path(pytest.__file__).parents[1]
        shutil.copy(library / "py.py", self.packages)
        for name in ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments"):
            shutil.copytree(library / name, self.packages / name)

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "safe.directory=*"]
        done = subprocess.run(["git", *identity, *words], cwd=self.root, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def commit(self) -> CommitId:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "x")
        return parse_commit_id(self.git("rev-parse", "HEAD"))

    def change(self, **files: str) -> CommitId:
        """Commit these files on top of base, and leave the branch and the work tree on base."""
        for path, text in files.items():
            self.write(path, text)
        commit = self.commit()
        self.git("reset", "--quiet", "--hard", self.base)
        return commit

    def job(self, **changes: object) -> ProofJob:
        job = ProofJob(
            repository=str(self.root),
            base=self.base,
            candidate=self.candidate,
            test_command=("python", "-m", "unittest", "discover", "-s", "tests"),
            python=str(self.root / ".venv" / "bin" / "python"),
            changed_modules=("src/shop/price.py",),
            timeout_s=30.0,
            memory_mb=256,
            max_processes=32,
        )
        return replace(job, **changes)  # type: ignore[arg-type]


def open_folder() -> Path:
    """Return a new folder that every user may look into; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="homeostat-shop-"))
    folder.chmod(0o755)
    return folder


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

    def own(self, folder: Path) -> None:
        """Give a folder and all that is in it to that user."""
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", f"{ORDINARY_UID}:{ORDINARY_UID}", str(folder)], check=True)

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
