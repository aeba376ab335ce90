"""Rules for all tests: in CI a test that is skipped for a missing part is a failure."""

import itertools
import os
import signal
import sys

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what it runs in the background; programs under test would have it so, too, and not be stopped.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def tmp_path(tmp_path_factory):
    """A folder with a short path, also in a parallel run: a Unix socket's path holds about 108 bytes."""
    return tmp_path_factory.mktemp("t")


@pytest.hookimpl(hookwrapper=True)
def pytest_collection():
    """Keep what pytest makes of the test files, also where PYTHONDONTWRITEBYTECODE is set.

    To make it anew takes more than half of the time of collecting, in each process of a parallel run. What tests
    themselves import and start keeps to the variable: a file that is edited twice in a second is read anew.
    """
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


@pytest.hookimpl(trylast=True)  # after pytest has put those together that share a fixture
def pytest_collection_modifyitems(items):
    """In a parallel run, let half of the processes begin with the end-to-end tests, which mostly wait.

    The others keep the cores busy meanwhile. Each process gets its share of the list in one piece: in the order of
    their names these tests would be one process's, and still under way when nothing is left to be done beside them.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    share = len(items) // processes
    waiting = [item for item in items if "e2e" in item.path.parts]
    if processes == 1 or len(waiting) > share:
        return
    others = iter([item for item in items if "e2e" not in item.path.parts])
    files = sorted({item.path for item in waiting})
    beginning = max(1, processes // 2)
    ordered = []
    for number in range(beginning):
        of_files = files[number::beginning]
        first = [item for item in waiting if item.path in of_files]
        ordered += [*first, *itertools.islice(others, share - len(first))]
    items[:] = [*ordered, *others]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {reason}"
