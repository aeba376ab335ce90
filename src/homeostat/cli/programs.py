"""Finding out how a program is run and tested: its interpreter, its test command, its start command.

Everything is read from files; nothing of the program is imported or run, except that its
interpreter is asked which of pytest, uvicorn, gunicorn and flask it has.
"""

import ast
import os
import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeostat.core.errors import InvalidInput

_SKIPPED = frozenset(
    [".git", ".homeostat", ".venv", "venv", "node_modules", "__pycache__", "build", "dist", "site-packages"]
)
_MAX_FILES = 2000
_RUNS = re.compile(r"^if __name__ == ['\"]__main__['\"]", re.MULTILINE)
_MAX_FILE_BYTES = 1 << 20
_NOT_THE_PROGRAM = frozenset({"tests", "test", "docs", "doc", "examples", "example", "bench", "benchmarks", "scripts"})
_MODULE = re.compile(r"[^\W\d][\w-]*")


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
    if not path.is_file() or not os.access(path, os.X_OK):
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
        if _is_program(repository / name / "bin" / "python"):
            return Found(value=(f"{name}/bin/python",), why=f"the virtual environment in {name}/")
    active = os.environ.get("VIRTUAL_ENV")
    if active and _is_program(Path(active) / "bin" / "python"):
        return Found(value=(str(Path(active) / "bin" / "python"),), why="the active virtual environment")
    return Found(value=(sys.executable,), why="no virtual environment was found: the interpreter of this command")


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _modules_of(python: Path) -> frozenset[str]:
    names = ("pytest", "uvicorn", "gunicorn", "flask", "django")
    # The working folder is taken off the path: a file of such a name there is another thing.
    script = (
        "import sys; sys.path[:] = filter(None, sys.path); import importlib.util as u; "
        "print(*[n for n in sys.argv[1:] if u.find_spec(n)])"
    )
    try:
        asked = subprocess.run(
            [str(python), "-c", script, *names],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    return frozenset(asked.stdout.split())


def _find_tests(repository: Path, has: frozenset[str]) -> Found | None:
    tests = [path for path in _python_files(repository) if _is_test(path)]
    configured = (repository / "pytest.ini").is_file() or "pytest" in _table(_pyproject(repository), "tool")
    if "pytest" in has and configured:
        return Found(value=("python", "-m", "pytest", "-q"), why="pytest is installed and configured")
    if tests and "django" in has and _is_django(repository):
        return Found(value=("python", "manage.py", "test"), why="manage.py (Django) and tests")
    if "pytest" in has and tests:
        return Found(value=("python", "-m", "pytest", "-q"), why="pytest is installed and there are tests")
    tests = [path for path in tests if "unittest" in _text(path)]
    return _unittest(repository, tests) if tests else None


def _unittest(repository: Path, tests: Sequence[Path]) -> Found:
    start = Path(os.path.commonpath([str(path.parent) for path in tests])).relative_to(repository)
    packages = [start, *start.parents][:-1]
    # Where the folder is no package, discovery must begin there and not at the top.
    top = ("-t", ".") if packages and all((repository / part / "__init__.py").is_file() for part in packages) else ()
    pattern = () if any(path.name.startswith("test") for path in tests) else ("-p", "*_test.py")
    value = ("python", "-m", "unittest", "discover", "-s", str(start), *top, *pattern)
    return Found(value=value, why=f"unittest tests in {start}/")


def _is_test(path: Path) -> bool:
    return path.name.startswith("test_") or path.name.endswith("_test.py") or path.name == "tests.py"


def _is_django(repository: Path) -> bool:
    return (repository / "manage.py").is_file()


def _find_start(repository: Path, has: frozenset[str]) -> Found | None:
    if _is_django(repository):
        return Found(value=("python", "manage.py", "runserver", "--noreload"), why="manage.py (Django)")
    for path in _python_files(repository):
        if _is_test(path) or _NOT_THE_PROGRAM & set(path.relative_to(repository).parts[:-1]):
            continue
        application = _application_in(path)
        found = _server(repository, path, *application, has) if application else None
        if found is not None:
            return found
    scripts = _table(_pyproject(repository), "project", "scripts")
    if len(scripts) == 1:
        return Found(value=(str(next(iter(scripts))),), why="the only console script in pyproject.toml")
    return _find_script(repository)


def _find_script(repository: Path) -> Found | None:
    """Find a package that can be run, or the one script at the top that is written to be run."""
    packages = [*sorted(repository.glob("*/__main__.py")), *sorted(repository.glob("src/*/__main__.py"))]
    for path in packages:
        name, parts = path.parent.name, path.relative_to(repository).parts
        if "." not in name and _NOT_THE_PROGRAM.isdisjoint(parts):
            installed = "; the package must be installed, as by pip install -e ." if parts[0] == "src" else ""
            return Found(value=("python", "-m", name), why=f"{'/'.join(parts)}{installed}")
    for path in (repository / "main.py", repository / "app.py"):
        if path.is_file():
            return Found(value=("python", path.name), why=f"{path.name} at the top")
    scripts = [path for path in sorted(repository.glob("*.py")) if not _is_test(path) and _RUNS.search(_text(path))]
    if len(scripts) == 1:
        return Found(value=("python", scripts[0].name), why=f"{scripts[0].name}, the only script at the top")
    return None


def _server(repository: Path, path: Path, kind: str, name: str, has: frozenset[str]) -> Found | None:
    module = _module_name(repository, path)
    if module is None:
        return None
    in_src = path.is_relative_to(repository / "src")
    why = f"{kind} application in {module}"
    if kind in ("FastAPI", "Starlette") and "uvicorn" in has:
        source = ("--app-dir", "src") if in_src else ()
        return Found(value=("python", "-m", "uvicorn", *source, f"{module}:{name}"), why=why)
    if kind == "Flask" and "gunicorn" in has:
        source = ("--pythonpath", "src") if in_src else ()
        return Found(value=("python", "-m", "gunicorn", *source, f"{module}:{name}"), why=why)
    if kind == "Flask" and "flask" in has:
        target = str(path.relative_to(repository)) if in_src else module
        return Found(value=("python", "-m", "flask", "--app", f"{target}:{name}", "run"), why=why)
    return None


def _application_in(path: Path) -> tuple[str, str] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the program's own spelling
            tree = ast.parse(_text(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        kind = ast.unparse(node.value.func).rpartition(".")[2]
        if isinstance(target, ast.Name) and kind in ("FastAPI", "Starlette", "Flask"):
            return kind, target.id
    return None


def _module_name(repository: Path, path: Path) -> str | None:
    """Return the name to import a file by; None where a folder's name can be no part of one."""
    relative = path.relative_to(repository)
    parts: Sequence[str] = relative.with_suffix("").parts
    if parts[0] == "src":
        parts = parts[1:]
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts) if parts and all(_MODULE.fullmatch(part) for part in parts) else None


def _python_files(repository: Path) -> Iterator[Path]:
    count = 0
    for folder, folders, names in os.walk(repository):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        for name in sorted(names):
            if name.endswith(".py") and (Path(folder) / name).is_file():
                count += 1
                if count > _MAX_FILES:
                    return
                yield Path(folder) / name


def _text(path: Path) -> str:
    """Return the beginning of a source file, empty when it cannot be read."""
    try:
        if not path.is_file():  # a pipe would make us wait
            return ""
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.read(_MAX_FILE_BYTES)
    except OSError:
        return ""


def _pyproject(repository: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(repository / "pyproject.toml"))
    except (ValueError, RecursionError):
        return {}


def _table(document: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        inner = document.get(name)
        if not isinstance(inner, dict):
            return {}
        document = inner
    return document
