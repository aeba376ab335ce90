"""Records, inside a sandboxed run, how each test ended and where the changed modules were loaded from.

Runs in the host's interpreter (Python 3.9 or later, standard library only), from a folder outside the
code under test. Each process appends lines of JSON to a file of its own; the worker reads them
afterwards and believes only what agrees with the exit code.
"""

from __future__ import annotations

import atexit
import importlib.machinery
import json
import os
import sys
from collections.abc import Callable
from typing import Any

_SESSION = "HOMEOSTAT_PROBE_SESSION"
_MAX_ID = 500


class Probe:
    """What this process writes to, and what it looks for."""

    def __init__(self, results: str, root: str, modules: list[str]) -> None:
        self._results = results
        self._root = root
        self._modules = modules

    def write(self, event: str, **facts: Any) -> None:
        """Append one event. A full disk or a closed folder must not fail the host's test."""
        line = json.dumps({"event": event, "pid": os.getpid(), **facts}) + "\n"
        path = os.path.join(self._results, f"{os.getpid()}.jsonl")  # noqa: PTH118
        try:
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.write(handle, line.encode("utf-8", "replace"))
            finally:
                os.close(handle)
        except OSError:
            pass  # results that are missing are never read as a pass

    def write_modules(self) -> None:
        """Say for each changed module whether this process loaded it, and from where."""
        loaded = _loaded_files()
        places = {}
        for path in self._modules:
            wanted = os.path.realpath(os.path.join(self._root, path))  # noqa: PTH118
            if wanted in loaded.values():
                places[path] = "checkout"
            elif any(name in loaded for name in _names(self._root, path)):
                places[path] = "elsewhere"
        if places:
            self.write("modules", places=places)


def _loaded_files() -> dict[str, str]:
    """Return the real source file of every loaded module, by the module's name."""
    files = {}
    for name, module in list(sys.modules.items()):
        try:
            path = module.__file__
        except Exception:  # noqa: S112 - a module may be any object of the host's
            continue
        if isinstance(path, str):
            files[name] = os.path.realpath(path)
    return files


def _names(root: str, path: str) -> list[str]:
    """Return the names under which a module at this path may be imported.

    From its innermost folder without ``__init__.py``, from the root, and from ``src``.
    """
    parts = path[: -len(".py")].split("/")
    if parts[-1] == "__init__":
        parts.pop()
    start = max(len(parts) - 1, 0)
    while start > 0 and os.path.isfile(os.path.join(root, *parts[:start], "__init__.py")):  # noqa: PTH113, PTH118
        start -= 1
    found = [".".join(parts[start:]), ".".join(parts)]
    if parts[0] == "src":
        found.append(".".join(parts[1:]))
    return [name for name in dict.fromkeys(found) if name]


_started: list[Probe] = []  # one at most, as there is one sys.modules


def start() -> None:
    """Begin to record in this process, when it belongs to a sandboxed run."""
    results = os.environ.get("HOMEOSTAT_PROBE_RESULTS")
    if not results or _started:
        return
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    with open(os.path.join(here, "config.json"), encoding="utf-8") as handle:  # noqa: PTH118, PTH123
        config = json.load(handle)
    probe = Probe(results, config["root"], config["modules"])
    _started.append(probe)
    atexit.register(probe.write_modules)
    sys.meta_path.insert(0, _WatchUnittest())


class Session:
    """One run of a test runner: the outermost of its process tree, the only one that counts."""

    def __init__(self, probe: Probe, runner: str) -> None:
        self._probe = probe
        self._runner = runner
        self._seen = 0
        probe.write("session", runner=runner)

    def test(self, test_id: str, outcome: str) -> None:
        self._seen += 1
        self._probe.write("test", id=test_id[:_MAX_ID], outcome=outcome)

    def end(self, exit_code: int) -> None:
        os.environ.pop(_SESSION, None)
        self._probe.write_modules()
        self._probe.write("end", runner=self._runner, exit=exit_code, seen=self._seen)


def begin_session(runner: str) -> Session | None:
    """Return a session, or None when there is no probe or a session encloses this one.

    Tests of test runners start runs of their own, in this process or another: those are not ours.
    """
    if not _started or os.environ.get(_SESSION):
        return None
    os.environ[_SESSION] = str(os.getpid())
    return Session(_started[0], runner)


class _WatchUnittest:
    """Waits for `unittest.result` to be imported, by whatever runner, and listens in on its results."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "unittest.result":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            run: Callable[[Any], None] = spec.loader.exec_module

            def run_and_listen(module: Any) -> None:
                run(module)
                UnittestListener().attach(module.TestResult)

            spec.loader.exec_module = run_and_listen  # type: ignore[method-assign]
        return spec


class UnittestListener:
    """Follows the outermost `TestResult` of this process through the methods that every result inherits."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._result: Any = None
        self._outcomes: dict[str, str] = {}
        self._running: str | None = None

    def attach(self, result_class: Any) -> None:
        def after(method: str, listen: Callable[..., None]) -> None:
            original = getattr(result_class, method)

            def call(result: Any, *args: Any, **kwargs: Any) -> Any:
                answer = original(result, *args, **kwargs)
                if self._follows(result):
                    listen(*args, **kwargs)
                return answer

            call.__name__ = method
            call.__doc__ = original.__doc__
            setattr(result_class, method, call)

        after("startTestRun", lambda: None)
        after("startTest", self._started)
        after("addSuccess", lambda test: self._note(test, "passed"))
        after("addFailure", lambda test, error: self._note(test, "failed"))
        after("addError", lambda test, error: self._note(test, "error"))
        after("addSkip", lambda test, reason: self._note(test, "skipped"))
        after("addExpectedFailure", lambda test, error: self._note(test, "skipped"))
        after("addUnexpectedSuccess", lambda test: self._note(test, "failed"))
        after("addSubTest", self._sub_test)
        after("stopTest", self._stopped)
        after("stopTestRun", self._ended)

    def _follows(self, result: Any) -> bool:
        if self._result is None:
            self._session = begin_session("unittest")
            if self._session is None:
                return False
            self._result = result
            atexit.register(self._ended)  # for runners that never say that they stop
        return result is self._result

    def _started(self, test: Any) -> None:
        self._running = str(test.id())

    def _note(self, test: Any, outcome: str) -> None:
        test_id = str(test.id())
        worse = self._outcomes.get(test_id) in ("failed", "error")
        self._outcomes[test_id] = self._outcomes[test_id] if worse else outcome
        if test_id != self._running and self._session is not None:
            self._session.test(test_id, self._outcomes.pop(test_id))  # a class or module that failed as a whole

    def _sub_test(self, test: Any, subtest: Any, error: Any) -> None:
        if error is not None:
            self._outcomes[str(test.id())] = "failed"

    def _stopped(self, test: Any) -> None:
        test_id = str(test.id())
        if self._session is not None:
            self._session.test(test_id, self._outcomes.pop(test_id, "passed"))
        self._running = None

    def _ended(self) -> None:
        if self._session is not None and self._result is not None:
            self._session.end(0 if self._result.wasSuccessful() else 1)
        self._session = None
        self._result = None
