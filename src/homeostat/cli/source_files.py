"""Reading a repository's files to find out about its program. Nothing of the program is imported or run."""

import ast
import os
import re
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_SKIPPED = frozenset(
    [".git", ".homeostat", ".venv", "venv", "env", "node_modules", "__pycache__", "build", "dist", "site-packages"]
)
_NOT_THE_PROGRAM = frozenset({"tests", "test", "docs", "doc", "examples", "example", "bench", "benchmarks", "scripts"})
_MODULE = re.compile(r"[^\W\d][\w-]*")
_MAX_FILES = 2000
_MAX_FILE_BYTES = 1 << 20


def python_files(repository: Path) -> Iterator[Path]:
    """Yield every Python file of the repository, environments and what was built left out; at most 2,000."""
    count = 0
    for folder, folders, names in os.walk(repository):
        folders[:] = sorted(name for name in folders if _is_source(Path(folder, name)))
        for name in sorted(names):
            if name.endswith(".py") and (Path(folder) / name).is_file():
                count += 1
                if count > _MAX_FILES:
                    return
                yield Path(folder) / name


def _is_source(folder: Path) -> bool:
    return folder.name not in _SKIPPED and not folder.name.startswith(".") and not (folder / "pyvenv.cfg").exists()


def is_test(path: Path) -> bool:
    """Tell whether a file's name is that of a test."""
    return path.name.startswith("test_") or path.name.endswith("_test.py") or path.name == "tests.py"


def is_of_program(repository: Path, path: Path) -> bool:
    """Tell whether a file may be part of the program, and not of its tests, documents or tools."""
    return not is_test(path) and _NOT_THE_PROGRAM.isdisjoint(path.relative_to(repository).parts[:-1])


def module_name(repository: Path, path: Path) -> str | None:
    """Return the name to import a file by; None where a folder's name can be no part of one."""
    parts: Sequence[str] = path.relative_to(repository).with_suffix("").parts
    if parts[0] == "src":
        parts = parts[1:]
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts) if parts and all(_MODULE.fullmatch(part) for part in parts) else None


def text_of(path: Path) -> str:
    """Return the beginning of a source file, empty when it cannot be read."""
    try:
        if not path.is_file():  # a pipe would make us wait
            return ""
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.read(_MAX_FILE_BYTES)
    except OSError:
        return ""


def parse(path: Path) -> ast.Module | None:
    """Return the syntax tree of a source file; None when it is not Python that can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the program's own spelling
            return ast.parse(text_of(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def pyproject(repository: Path) -> dict[str, Any]:
    """Return what pyproject.toml says, empty when there is none that can be read."""
    try:
        return tomllib.loads(text_of(repository / "pyproject.toml"))
    except (ValueError, RecursionError):
        return {}


def table(document: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return an inner table, empty when there is none."""
    for name in names:
        inner = document.get(name)
        if not isinstance(inner, dict):
            return {}
        document = inner
    return document
