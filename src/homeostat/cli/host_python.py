"""The host's interpreter: which it is, what it has, and how the program itself is installed in it.

The interpreter is asked once, for facts about files; nothing of the program is imported.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from homeostat.cli.source_files import pyproject, table
from homeostat.cli.start_commands import Found
from homeostat.core.errors import InvalidInput

OLDEST = (3, 9)
"""What the agent runs in."""

_ASK = """
import sys
sys.path[:] = filter(None, sys.path)  # the working folder: a file of such a name there is another thing
import importlib.util, json
def has(name):
    try:
        return importlib.util.find_spec(name) is not None
    except Exception:
        return False
told = {"version": list(sys.version_info[:2]), "kind": sys.implementation.name,
        "has": [name for name in sys.argv[1:] if has(name)], "installed": []}
try:
    from importlib.metadata import distributions
    for item in distributions():
        told["installed"].append([item.metadata["Name"], item.read_text("direct_url.json"), str(item.locate_file(""))])
except Exception:
    pass
print(json.dumps(told))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonFacts:
    """What an interpreter said of itself."""

    version: tuple[int, int]
    """(0, 0) when it said nothing."""

    kind: str
    has: frozenset[str]
    """Of the modules that were asked for, those that it can import."""

    copies: tuple[str, ...]
    """Distributions of this repository that are installed as copies: their code is not the repository's."""

    is_installed: bool
    """Whether a distribution of this repository is installed in any way."""


def find_python(repository: Path) -> list[Found]:
    """Return the interpreters that may be the host's: one is found, several are a choice."""
    for names in ((".venv",), ("venv", "env"), tuple(_other_environments(repository))):
        there = [name for name in names if _is_program(repository / name / "bin" / "python")]
        if there:
            return [Found(value=(f"{name}/bin/python",), why=f"the virtual environment in {name}/") for name in there]
    for variable, what in (("VIRTUAL_ENV", "virtual"), ("CONDA_PREFIX", "conda")):
        active = os.environ.get(variable)
        if active and _is_program(Path(active) / "bin" / "python"):
            return [Found(value=(str(Path(active) / "bin" / "python"),), why=f"the active {what} environment")]
    return [Found(value=(sys.executable,), why="no virtual environment was found: the interpreter of this command")]


def _other_environments(repository: Path) -> list[str]:
    return sorted(path.parent.name for path in repository.glob("*/pyvenv.cfg"))


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def resolve_python(repository: Path, configured: str) -> Path:
    """Return the absolute path of the host's interpreter, links kept (a virtual environment lives by them)."""
    path = Path(configured) if configured else Path(find_python(repository)[0].value[0])
    path = path if path.is_absolute() else repository / path
    if not _is_program(path):
        raise InvalidInput(
            "no-interpreter", f"{path} is not an executable interpreter", hint="set host.python in homeostat.toml"
        )
    return Path(os.path.normpath(path))


def ask_python(python: Path, repository: Path, names: Iterable[str]) -> PythonFacts:
    """Ask an interpreter which of these modules it has, and how the repository's project is installed in it."""
    try:
        asked = subprocess.run(
            [str(python), "-c", _ASK, *names],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        told: dict[str, Any] = json.loads(asked.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return PythonFacts(version=(0, 0), kind="", has=frozenset(), copies=(), is_installed=False)
    project = _plain(str(table(pyproject(repository), "project").get("name", "")))
    ours = [
        (name, how) for name, how in ((item[0], _how(item, repository, project)) for item in told["installed"]) if how
    ]
    major, minor = told["version"]
    return PythonFacts(
        version=(int(major), int(minor)),
        kind=str(told["kind"]),
        has=frozenset(told["has"]),
        copies=tuple(sorted({str(name) for name, how in ours if how == "copy"})),
        is_installed=bool(ours),
    )


def _how(installed: list[Any], repository: Path, project: str) -> str:
    """Tell how a distribution belongs to the repository: ``editable``, ``copy``, or not at all."""
    name, record, place = installed
    try:
        source = json.loads(record) if record else {}
        url = urlsplit(str(source.get("url", "")))
        editable = source.get("dir_info", {}).get("editable") is True
    except (ValueError, AttributeError):
        return ""
    folder = os.path.realpath(unquote(url.path)) if url.scheme == "file" else ""
    root = os.path.realpath(repository)
    is_ours = folder == root or folder.startswith(root + os.sep) or (project and _plain(str(name)) == project)
    if not is_ours:
        return ""
    return "editable" if editable or not _is_environment(place, root) else "copy"


def _is_environment(place: str, root: str) -> bool:
    """Tell a folder of installed packages from the repository's own, which a development install names."""
    real = os.path.realpath(place)
    return not (real == root or real == os.path.join(root, "src"))  # noqa: PTH118


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
