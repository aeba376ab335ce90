"""`homeostat up` and `homeostat run`: what is refused before anything starts, and where a program runs."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

HOMEOSTAT = Path(sys.executable).with_name("homeostat")
DEADLINE_S = 60


@pytest.fixture
def committed(repository):
    (repository / "where.py").write_text(
        "import os, pathlib, sys\npathlib.Path(sys.argv[1]).write_text(os.getcwd())\nsys.exit(7)\n"
    )
    git = ["git", "-C", repository, "-c", "user.name=a", "-c", "user.email=a@localhost"]
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "first"], check=True)
    return repository


def test_nothing_to_run_is_a_2(typed, repository):
    answer = typed("run")
    assert (answer.code, answer.out) == (2, "") and "error[no-command]" in answer.err


def test_a_program_that_is_not_there_is_refused_and_leaves_no_launch_file(typed, committed):
    answer = typed("run", "--", "/nowhere/program")
    assert (answer.code, answer.out) == (2, "") and "error[command-not-started]" in answer.err
    assert list((committed / ".homeostat" / "run").glob("launch-*")) == []


def test_a_port_that_is_taken_is_a_4(typed, committed):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = typed("up", "--port", taken.getsockname()[1])
    assert (answer.code, answer.out) == (4, "") and "error[port-taken]" in answer.err and "--port 0" in answer.err


def test_an_interpreter_that_is_none_is_refused_before_anything_starts(typed, committed):
    (committed / "homeostat.toml").write_text('[host]\npython = "nowhere"\n')
    answer = typed("up", "--port", "0")
    assert (answer.code, answer.out) == (2, "") and "error[no-interpreter]" in answer.err
    assert not (committed / ".homeostat").exists()


@pytest.mark.parametrize("how", ["configured", "typed"])
def test_a_configured_program_runs_at_the_top_and_a_typed_one_where_it_was_typed(committed, tmp_path, how):
    """And its exit code is that of `homeostat up`."""
    inner = committed / "inner"
    inner.mkdir()
    told = tmp_path / "told"
    command = ["python", str(committed / "where.py"), str(told)]
    (committed / "homeostat.toml").write_text(
        f'[host]\npython = "{sys.executable}"\nstart_command = {json.dumps(command)}\n'
    )
    more = [] if how == "configured" else ["--", sys.executable, *command[1:]]
    done = subprocess.run(
        [HOMEOSTAT, "up", "--port", "0", *more],
        cwd=inner,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert told.read_text() == str(committed if how == "configured" else inner)
    assert "homeostat is ready at http://127.0.0.1:" in done.stderr and done.stdout == ""


def test_up_stops_cleanly_and_leaves_no_address_behind(typed, committed, monkeypatch):
    process = subprocess.Popen([HOMEOSTAT, "up", "--port", "0"], cwd=committed, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(DEADLINE_S, process.kill)
    watchdog.start()
    try:
        ready = process.stderr.readline()
        assert ready.startswith("homeostat is ready at "), ready
        url = ready.split()[-1]
        hub_file = committed / ".homeostat" / "run" / "hub.json"
        assert json.loads(hub_file.read_text())["url"] == url
        answer = typed("proposals", "list")
        assert (answer.code, answer.err) == (0, "no proposals\n")
        assert typed("up", "--port", "0").code == 3, "one hub for one state directory"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
        assert not hub_file.exists()
        assert typed("proposals", "list").code == 4
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_hub_that_cannot_say_where_it_serves_ends_with_the_reason(committed):
    """As on a full disk: nobody could call it, and a program that starts later would not find it."""
    run = committed / ".homeostat" / "run"
    for folder in (run.parent, run, run / "hub.part"):
        folder.mkdir(mode=0o700)
    done = subprocess.run(
        [HOMEOSTAT, "up", "--port", "0"], cwd=committed, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 4 and "error[state-dir-unusable]: the hub's address" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "is ready" not in done.stderr


def test_the_environment_of_this_test_is_clean():
    assert [name for name in os.environ if name.startswith("HOMEOSTAT_")] == []
