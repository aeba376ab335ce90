"""Read what the probe recorded in a sandboxed run, and say whether it can be believed.

The files were written under the control of untrusted code: they are bounded, never followed when they
are not regular files, and checked against the exit code, which the kernel reported.
"""

import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

_MAX_BYTES = 64 << 20
_MAX_FILES = 4096
_MAX_TESTS = 50_000
_SEVERITY = {"passed": 0, "skipped": 1, "failed": 2, "error": 3}
_RUNNERS = ("pytest", "py.test", "unittest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Outcomes by test id, where the changed modules came from, and what is wrong with all this."""

    outcomes: dict[str, str]
    ran_from_candidate: bool | None
    problem: str


def read_results(
    folder: Path, *, exit_code: int | None, command: Sequence[str], changed_modules: Sequence[str]
) -> Results:
    """Return what the run reported. `exit_code` None (ended by a limit) makes no claim to check."""
    events = list(_events(folder))
    outcomes: dict[str, str] = {}
    for event in events:
        if event.get("event") == "test":
            _keep_worst(outcomes, event)
    problem = "" if exit_code is None else _problem(events, outcomes, exit_code, command)
    return Results(outcomes=outcomes, ran_from_candidate=_ran_from(events, changed_modules), problem=problem)


def _keep_worst(outcomes: dict[str, str], event: dict[str, object]) -> None:
    test_id, outcome = event.get("id"), event.get("outcome")
    if not isinstance(test_id, str) or not isinstance(outcome, str) or outcome not in _SEVERITY:
        return
    known = outcomes.get(test_id)
    if known is None and len(outcomes) >= _MAX_TESTS:
        return
    if known is None or _SEVERITY[outcome] > _SEVERITY[known]:
        outcomes[test_id] = outcome


def _problem(
    events: Sequence[dict[str, object]], outcomes: dict[str, str], exit_code: int, command: Sequence[str]
) -> str:
    """Say why an exit code and the recorded events cannot both be true; empty when they can."""
    sessions = sum(1 for event in events if event.get("event") == "session")
    ends = [event for event in events if event.get("event") == "end"]
    tests = sum(1 for event in events if event.get("event") == "test")
    if exit_code != 0:
        return ""  # it says itself that it did not pass
    if not sessions:
        if any(Path(word).name.startswith(_RUNNERS) for word in command):
            return "the test runner left no results"
        return ""
    if len(ends) != sessions:
        return "the test runner was cut short and still said that all is well"
    seen = [event.get("seen") for event in ends]
    if sum(number for number in seen if isinstance(number, int)) != tests:
        return "the test runner's own count of tests differs from its results"
    if any(event.get("exit") != 0 for event in ends):
        return "the test runner failed, but the command said that all is well"
    if any(_SEVERITY[outcome] >= _SEVERITY["failed"] for outcome in outcomes.values()):
        return "tests failed, but the command said that all is well"
    if not tests:
        return "the test runner ran no test"
    return ""


def _ran_from(events: Sequence[dict[str, object]], changed_modules: Sequence[str]) -> bool | None:
    """Tell where the changed modules came from: any process counts, and one from elsewhere spoils it.

    Changed tests load themselves, so they count only when nothing else was changed.
    """
    places: dict[str, set[str]] = {}
    for event in events:
        found = event.get("places")
        if event.get("event") == "modules" and isinstance(found, dict):
            for path, place in found.items():
                places.setdefault(str(path), set()).add(str(place))
    wanted = [path for path in changed_modules if not is_test_file(path)] or list(changed_modules)
    seen = [places[path] for path in wanted if path in places]
    if not seen:
        return None
    return all("checkout" in where for where in seen)


def is_test_file(path: str) -> bool:
    """Tell whether a path names a test by the usual conventions."""
    *folders, name = path.split("/")
    return (
        name == "conftest.py"
        or name.startswith("test_")
        or name.endswith("_test.py")
        or any(folder in ("test", "tests") for folder in folders)
    )


def _events(folder: Path) -> Iterator[dict[str, object]]:
    left = _MAX_BYTES
    try:
        paths = sorted(islice(folder.iterdir(), _MAX_FILES))
    except OSError:
        return  # closed by the code under test: no results
    for path in paths:
        if path.suffix != ".jsonl":
            continue
        data = _read_regular(path, left)
        left -= len(data)
        for line in data.splitlines():
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue  # counts that do not agree are noticed later
            if isinstance(event, dict):
                yield event


def _read_regular(path: Path, limit: int) -> bytes:
    """Return a regular file's bytes; nothing for a link, a pipe or a device, which would lead elsewhere or block."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return b""
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(max(0, limit))
    finally:
        os.close(handle)
