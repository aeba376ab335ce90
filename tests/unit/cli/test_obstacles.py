"""What keeps the agent out of a program is said before it starts, and of one that runs without it."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from agents_harness import Place, clean_environment, wait_for

from homeostat.cli import obstacles as module
from homeostat.cli.obstacles import obstacles, unwatched

CLEAR = [
    "python app.py -I",
    "python -u -m uvicorn app:app",
    "python3.11 -W ignore -X dev -OO app.py",
    "python -Wi -c import -E",
    "python -mIsolated",
    "python -P app.py",
    "env A=b python app.py",
    "sh start.sh",
    "uwsgi --enable-threads --http :80",
    "/nowhere/serve",
    "gunicorn app:app",
    "",
]
STOPPED = {
    "python -I app.py": "-I",
    "/usr/bin/python3.12 -uE -m app": "-E",
    "pypy3 -S app.py": "-S",
    "python -X dev -sI app.py": "-I",
    "sudo -u www python app.py": "another user",
    "env -i python app.py": "after it",
    "docker run shop": "elsewhere",
    "uwsgi --http :80": "--enable-threads",
}


@pytest.mark.parametrize("command", CLEAR)
def test_a_command_that_lets_the_agent_in_is_not_remarked(command):
    assert obstacles(command.split()) == []


@pytest.mark.parametrize("command", STOPPED)
def test_a_command_that_keeps_the_agent_out_is_told_with_a_way_out(command):
    (said,) = obstacles(command.split())
    assert STOPPED[command] in said


@pytest.mark.parametrize(
    ("first", "flag"),
    [
        ("#!/usr/bin/python3 -sE", "E"),
        ("#!/usr/bin/env -S python3 -I", "I"),
        ("#!/usr/bin/python3", ""),
        ("#!/bin/sh -E", ""),
    ],
)
def test_a_script_is_judged_by_the_interpreter_it_names(tmp_path, first, flag):
    script = tmp_path / "serve"
    script.write_text(f"{first}\nprint()\n")
    script.chmod(0o755)
    said = obstacles([str(script), "-I"])
    assert (f"-{flag}," in said[0] if said else "") == bool(flag) or (not flag and not said)


# Programs that run


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SETTLED_S", 0.0)
    return Place(tmp_path)


@contextmanager
def running(place, *command, env=None):
    environment = place.launch().environment(clean_environment()) | (env or {})
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"here\n"
        try:
            yield process
        finally:
            process.kill()


HERE = "import sys; print('here', flush=True); sys.stdin.read()"


def test_a_program_without_the_agent_is_found_with_the_reason(place, tmp_path):
    hiding = tmp_path / "hiding"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text("")
    path = place.launch().environment({})["PYTHONPATH"]
    cases = {
        "-I": ([sys.executable, "-I", "-c", HERE], None),
        "set anew": ([sys.executable, "-c", HERE], {"PYTHONPATH": "lib"}),
        "comes before": ([sys.executable, "-c", HERE], {"PYTHONPATH": f"{hiding}{os.pathsep}{path}"}),
    }
    for why, (command, env) in cases.items():
        with running(place, *command, env=env) as process:
            (found,) = unwatched(place.state, [])
            assert (found.pid, why in found.why) == (process.pid, True), found
            assert list(unwatched(place.state, [process.pid])) == []
            assert list(unwatched(tmp_path, [])) == []


def test_neither_a_watched_program_nor_its_tools_nor_the_shell_before_it_is_found(place):
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE); {HERE}"
    with place.hub() as hub, running(place, "sh", "-c", '"$@"; true', "sh", sys.executable, "-c", code):
        (attached,) = wait_for(lambda: [item for item in hub.processes() if item.connected])
        assert list(unwatched(place.state, [attached.pid])) == []


def test_a_process_that_has_just_begun_is_given_time(place, monkeypatch):
    monkeypatch.setattr(module, "SETTLED_S", 3600.0)
    with running(place, sys.executable, "-I", "-c", HERE):
        assert list(unwatched(place.state, [])) == []
