"""Finding out how a program is run and tested: its interpreter, its test command, its start command.

Everything is read from files; nothing of the program is imported or run, except that its
interpreter is asked which of pytest, uvicorn, gunicorn and flask it has.
"""

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeostat.core.errors import InvalidInput

_SKIPPED = frozenset(
    [".git", ".homeostat", ".venv", "venv", "node_modules", "__pycache__", "build", "dist", "site-packages"]
)
_MAX_FILES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One thing that was found, and how."""

    value: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    python: Found
    test_command: Found | None
    start_command: Found | None


def look_at(repository: Path) -> Program:
    """Look at a repository and say how its program is run and tested."""
    python = _find_python(repository)
    has = _modules_of(repository / python.value[0])
    return Program(python=python, test_command=_find_tests(repository, has), start_command=_find_start(repository, has))


def resolve_python(repository: Path, configured: str) -> Path:
    """Return the absolute path of the host's interpreter, links kept (a virtual environment lives by them)."""
    path = Path(configured) if configured else Path(_find_python(repository).value[0])
    path = path if path.is_absolute() else repository / path
    if not os.access(path, os.X_OK):
        raise InvalidInput(
            "no-interpreter", f"{path} is not an executable interpreter", hint="set host.python in homeostat.toml"
        )
    return Path(os.path.normpath(path))


def resolve_command(python: Path, command: Sequence[str]) -> tuple[str, ...]:
    """Name the program of a configured command by its path beside the host's interpreter, where it is there."""
    if not command or "/" in command[0]:
        return tuple(command)
    beside = python if command[0] in ("python", "python3") else python.parent / command[0]
    return (str(beside) if os.access(beside, os.X_OK) else command[0], *command[1:])


def _find_python(repository: Path) -> Found:
    for name in (".venv", "venv", "env"):
        if os.access(repository / name / "bin" / "python", os.X_OK):
            return Found(value=(f"{name}/bin/python",), why=f"the virtual environment in {name}/")
    active = os.environ.get("VIRTUAL_ENV")
    if active and os.access(Path(active) / "bin" / "python", os.X_OK):
        return Found(value=(str(Path(active) / "bin" / "python"),), why="the active virtual environment")
    return Found(value=(sys.executable,), why="no virtual environment was found: the interpreter of this command")


def _modules_of(python: Path) -> frozenset[str]:
    names = ("pytest", "uvicorn", "gunicorn", "flask", "django")
    script = "import importlib.util as u,sys; print(*[n for n in sys.argv[1:] if u.find_spec(n)])"
    try:
        asked = subprocess.run(
            [str(python), "-c", script, *names], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    return frozenset(asked.stdout.split())


def _find_tests(repository: Path, has: frozenset[str]) -> Found | None:
    tests = [path for path in _python_files(repository) if _is_test(path)]
    if "pytest" in has and (tests or _pyproject(repository).get("tool", {}).get("pytest")):
        return Found(value=("python", "-m", "pytest", "-q"), why="pytest is installed and there are tests")
    if tests:
        folder = os.path.commonpath([str(path.parent) for path in tests])
        start = os.path.relpath(folder, repository)
        if any("unittest" in path.read_text(encoding="utf-8", errors="replace") for path in tests):
            return Found(
                value=("python", "-m", "unittest", "discover", "-s", start, "-t", "."),
                why=f"unittest tests in {start}/",
            )
    return None


def _is_test(path: Path) -> bool:
    return path.name.startswith("test_") or path.name.endswith("_test.py") or path.name == "tests.py"


def _find_start(repository: Path, has: frozenset[str]) -> Found | None:
    if (repository / "manage.py").exists():
        return Found(value=("python", "manage.py", "runserver", "--noreload"), why="manage.py (Django)")
    for path in _python_files(repository):
        application = _application_in(path)
        if application is None or _is_test(path):
            continue
        kind, name = application
        module = _module_name(repository, path)
        if kind in ("FastAPI", "Starlette") and "uvicorn" in has:
            source = ("--app-dir", "src") if path.is_relative_to(repository / "src") else ()
            return Found(
                value=("python", "-m", "uvicorn", *source, f"{module}:{name}"), why=f"{kind} application in {module}"
            )
        if kind == "Flask" and "gunicorn" in has:
            return Found(value=("python", "-m", "gunicorn", f"{module}:{name}"), why=f"Flask application in {module}")
        if kind == "Flask" and "flask" in has:
            return Found(value=("python", "-m", "flask", "--app", module, "run"), why=f"Flask application in {module}")
    scripts = _pyproject(repository).get("project", {}).get("scripts", {})
    if len(scripts) == 1:
        name = next(iter(scripts))
        return Found(value=(name,), why="the only console script in pyproject.toml")
    for path in (repository / "main.py", repository / "app.py", *sorted(repository.glob("*/__main__.py"))):
        if path.exists():
            if path.name == "__main__.py":
                return Found(value=("python", "-m", path.parent.name), why=f"{path.parent.name}/__main__.py")
            return Found(value=("python", path.name), why=f"{path.name} at the top")
    return None


def _application_in(path: Path) -> tuple[str, str] | None:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return None
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            kind = ast.unparse(node.value.func).rpartition(".")[2]
            if kind in ("FastAPI", "Starlette", "Flask"):
                return kind, node.targets[0].id
    return None


def _module_name(repository: Path, path: Path) -> str:
    relative = path.relative_to(repository)
    parts: Sequence[str] = relative.with_suffix("").parts
    if parts[0] == "src":
        parts = parts[1:]
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


def _python_files(repository: Path) -> Iterator[Path]:
    count = 0
    for folder, folders, names in os.walk(repository):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        for name in sorted(names):
            if name.endswith(".py"):
                count += 1
                if count > _MAX_FILES:
                    return
                yield Path(folder) / name


def _pyproject(repository: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}
