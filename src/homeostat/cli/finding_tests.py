"""How a program is tested: pytest, Django's runner, a runner of its own, unittest."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from homeostat.cli.source_files import is_test, pyproject, python_files, table, text_of
from homeostat.cli.start_commands import Found

_MAKE_TEST = re.compile(r"^test[ \t]*:(?!=)", re.MULTILINE)
_RUNNERS = ("run_tests.py", "runtests.py")


def find_tests(repository: Path, has: frozenset[str]) -> Found | None:
    """Return the test command; None when there is none that is sure to run."""
    tests = [path for path in python_files(repository) if is_test(path)]
    pytest = Found(value=("python", "-m", "pytest", "-q"), why="pytest is installed and there are tests")
    if "pytest" in has and pytest_is_configured(repository):
        return Found(value=pytest.value, why="pytest is installed and configured")
    if tests and "django" in has and (repository / "manage.py").is_file():
        return Found(value=("python", "manage.py", "test"), why="manage.py (Django) and tests")
    own = _own_runner(repository)
    if own is not None:
        return own
    if "pytest" in has and tests:
        return pytest
    with_unittest = [path for path in tests if "unittest" in text_of(path)]
    if with_unittest:
        return _unittest(repository, with_unittest)
    if _MAKE_TEST.search(text_of(repository / "Makefile")):
        return Found(value=("make", "test"), why="`test` in the Makefile")
    return None


def pytest_is_configured(repository: Path) -> bool:
    """Tell whether a file says how pytest is to run."""
    return (repository / "pytest.ini").is_file() or "pytest" in table(pyproject(repository), "tool")


def wants_pytest(repository: Path) -> bool:
    """Tell whether there are tests that only pytest runs."""
    tests = [path for path in python_files(repository) if is_test(path)]
    return pytest_is_configured(repository) or any("unittest" not in text_of(path) for path in tests)


def _own_runner(repository: Path) -> Found | None:
    for name in _RUNNERS:
        if (repository / name).is_file():
            return Found(value=("python", name), why=f"{name} at the top")
    if (repository / "tests" / "__main__.py").is_file():
        return Found(value=("python", "-m", "tests"), why="tests/__main__.py")
    return None


def _unittest(repository: Path, tests: Sequence[Path]) -> Found:
    start = Path(os.path.commonpath([str(path.parent) for path in tests])).relative_to(repository)
    packages = [start, *start.parents][:-1]
    # Where the folder is no package, discovery must begin there and not at the top.
    top = ("-t", ".") if packages and all((repository / part / "__init__.py").is_file() for part in packages) else ()
    pattern = () if any(path.name.startswith("test") for path in tests) else ("-p", "*_test.py")
    value = ("python", "-m", "unittest", "discover", "-s", str(start), *top, *pattern)
    return Found(value=value, why=f"unittest tests in {start}/")
