"""Finding out how a program is run and tested: its interpreter, its test command, its start command.

Everything is read from files; nothing of the program is imported or run, except that its
interpreter is asked what it has. What cannot be told for sure is left open, with the choices.
"""

import ast
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from homeostat.cli.finding_tests import find_tests, pytest_is_configured, wants_pytest
from homeostat.cli.host_python import OLDEST, PythonFacts, ask_python, find_python
from homeostat.cli.source_files import parse, text_of
from homeostat.cli.start_commands import Application, Found, find_applications, find_starts

_ASKED = ("pytest", "uvicorn", "hypercorn", "gunicorn", "waitress", "flask", "django")
EDITABLE = "install it editable: {python} -m pip install -e ."


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What is in the way, and what to do about it where that is known."""

    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.detail}; {self.remedy}" if self.remedy else self.detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What was found. Where a command is None, its choices say between what; none: nothing was found."""

    python: Found
    test_command: Found | None
    start_command: Found | None
    start_choices: tuple[Found, ...] = ()
    remarks: tuple[str, ...] = ()
    """What is in the way of seeing and changing this program, each with what to do about it."""


def look_at(repository: Path) -> Program:
    """Look at a repository and say how its program is run and tested."""
    pythons = find_python(repository)
    applications = find_applications(repository)
    imports = _imports(repository, applications)
    facts = ask_python(repository / pythons[0].value[0], repository, (*_ASKED, *imports))
    starts = find_starts(repository, applications, facts.has)
    remarks = [
        *_other_pythons(pythons),
        *map(str, python_remarks(facts, pythons[0].value[0])),
        *(
            f"{pythons[0].value[0]} has no `{name}`, which {path} imports: set host.python to one that has it"
            for name, path in imports.items()
            if name not in facts.has and facts.version != (0, 0)
        ),
        *_test_remarks(repository, facts, pythons[0].value[0]),
    ]
    return Program(
        python=pythons[0],
        test_command=find_tests(repository, facts.has),
        start_command=starts[0] if len(starts) == 1 else None,
        start_choices=tuple(starts) if len(starts) > 1 else (),
        remarks=tuple(remarks),
    )


def resolve_command(python: Path, command: Sequence[str]) -> tuple[str, ...]:
    """Name the program of a configured command by its path beside the host's interpreter, where it is there."""
    if not command or "/" in command[0]:
        return tuple(command)
    beside = python if command[0] in ("python", "python3") else python.parent / command[0]
    return (str(beside) if os.access(beside, os.X_OK) else command[0], *command[1:])


def python_remarks(facts: PythonFacts, python: str) -> list[Remark]:
    """Say what about the interpreter and the project's installation keeps the agent from its work."""
    remarks = []
    if (0, 0) < facts.version < OLDEST:
        said = ".".join(map(str, facts.version))
        detail = f"{python} is Python {said}: the agent needs 3.9 or later, so the program runs unwatched in it"
        remarks.append(Remark(detail=detail))
    if facts.kind not in ("", "cpython"):
        remarks.append(Remark(detail=f"{python} is {facts.kind}, not CPython: nothing was tried there"))
    remarks += [
        Remark(
            detail=f"`{name}` is installed in {python}'s environment as a copy: what runs from there is not the "
            "repository's code, so its errors have no place and changes do not reach it",
            remedy=EDITABLE.format(python=python),
        )
        for name in facts.copies
    ]
    return remarks


def _other_pythons(pythons: Sequence[Found]) -> list[str]:
    others = ", ".join(item.value[0] for item in pythons[1:])
    return [f"there are other environments ({others}): host.python says which one is the program's"] if others else []


def _test_remarks(repository: Path, facts: PythonFacts, python: str) -> list[str]:
    remarks = []
    if "pytest" not in facts.has and facts.version != (0, 0) and wants_pytest(repository):
        remarks.append(f"the tests want pytest, which {python} does not have: install it there")
    in_src = any((repository / "src").glob("*/*.py"))
    found_anyway = pytest_is_configured(repository) and "pythonpath" in text_of(repository / "pyproject.toml")
    if in_src and facts.version != (0, 0) and not facts.is_installed and not found_anyway:
        way = EDITABLE.format(python=python)
        remarks.append(f"what is in src/ is not installed, so the program or its tests may not find it; {way}")
    return remarks


def _imports(repository: Path, applications: Sequence[Application]) -> dict[str, str]:
    """Return the foreign top-level modules that the applications' own files import, each with the first file."""
    found: dict[str, str] = {}
    for path in dict.fromkeys(item.path for item in applications):
        tree = parse(path)
        for node in ast.walk(tree) if tree is not None else ():
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for name in (name.partition(".")[0] for name in names):
                if name not in sys.stdlib_module_names and not _is_own(repository, path, name):
                    found.setdefault(name, path.relative_to(repository).as_posix())
    return found


def _is_own(repository: Path, path: Path, name: str) -> bool:
    folders = {
        repository,
        repository / "src",
        *(folder for folder in path.parents if folder.is_relative_to(repository)),
    }
    return any((folder / name).is_dir() or (folder / f"{name}.py").is_file() for folder in folders)
