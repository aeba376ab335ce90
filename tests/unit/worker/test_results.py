"""Results are written by untrusted code: what does not agree, or is no file, is not believed."""

import json
import os
from pathlib import Path

import pytest

from homeostat.worker.results import is_test_file, read_results

PYTEST = ("python", "-m", "pytest")
SESSION = {"event": "session", "runner": "pytest"}
PASSED = {"event": "test", "id": "t::a", "outcome": "passed"}
END = {"event": "end", "runner": "pytest", "exit": 0, "seen": 1}


def read(folder: Path, *events: object, exit_code: int | None = 0, command=PYTEST):
    (folder / "1.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return read_results(folder, exit_code=exit_code, command=command, changed_modules=("a.py",))


def test_a_whole_session_is_believed(tmp_path):
    results = read(tmp_path, SESSION, PASSED, END)
    assert (results.outcomes, results.problem) == ({"t::a": "passed"}, "")


@pytest.mark.parametrize(
    "events",
    [
        (),
        (SESSION,),
        (SESSION, PASSED),
        (PASSED, END),
        (SESSION, END | {"seen": 0}),
        (SESSION, PASSED, PASSED, END),
        (SESSION, PASSED, END | {"seen": 2}),
        (SESSION, PASSED, END | {"exit": 1}),
        (SESSION, PASSED, END | {"exit": None}),
        (SESSION, PASSED, END | {"seen": "1"}),
        (SESSION, SESSION, PASSED, END),
        (SESSION, PASSED | {"outcome": "failed"}, END),
        ("text", 3, None, [SESSION, PASSED, END]),
    ],
)
def test_what_contradicts_exit_code_0_is_not_believed(tmp_path, events):
    assert read(tmp_path, *events).problem


def test_a_red_exit_code_needs_no_agreement(tmp_path):
    assert read(tmp_path, SESSION, exit_code=1).problem == ""
    assert read(tmp_path, SESSION, exit_code=None).problem == ""


def test_a_command_of_its_own_kind_may_report_nothing(tmp_path):
    assert read(tmp_path, command=("make", "test")).problem == ""
    assert read(tmp_path, command=("/x/bin/pytest-3",)).problem


def test_the_worst_outcome_of_a_test_counts(tmp_path):
    results = read(tmp_path, SESSION, PASSED | {"outcome": "failed"}, PASSED, exit_code=1)
    assert results.outcomes == {"t::a": "failed"}


@pytest.mark.parametrize("event", [{"id": 3}, {"outcome": "brilliant"}, {"outcome": ["passed"]}, {"id": None}])
def test_an_outcome_that_makes_no_sense_is_left_out(tmp_path, event):
    assert read(tmp_path, SESSION, PASSED | event, END).outcomes == {}


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/etc/hostname")])
def test_what_is_no_regular_file_is_not_read(tmp_path, make):
    make(tmp_path / "0.jsonl")
    assert read(tmp_path, SESSION, PASSED, END).outcomes == {"t::a": "passed"}


def test_lines_that_are_no_json_are_passed_over(tmp_path):
    (tmp_path / "0.jsonl").write_bytes(b"\xff\xfe{{{\n" + b"[" * 5000 + b"\n")
    assert read(tmp_path, SESSION, PASSED, END).problem == ""


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], None),
        ([{"a.py": "checkout"}], True),
        ([{"a.py": "elsewhere"}], False),
        ([{"a.py": "elsewhere"}, {"a.py": "checkout"}], True),
        ([{"b.py": "checkout"}], None),
        ([["a.py"]], None),
    ],
)
def test_where_modules_came_from_is_gathered_over_all_processes(tmp_path, places, expected):
    events = [{"event": "modules", "places": place} for place in places]
    assert read(tmp_path, SESSION, PASSED, END, *events).ran_from_candidate is expected


def test_one_module_from_elsewhere_spoils_the_others(tmp_path):
    event = {"event": "modules", "places": {"a.py": "checkout", "b.py": "elsewhere"}}
    (tmp_path / "1.jsonl").write_text(json.dumps(event))
    results = read_results(tmp_path, exit_code=1, command=PYTEST, changed_modules=("a.py", "b.py"))
    assert results.ran_from_candidate is False


@pytest.mark.parametrize("path", ["tests/x.py", "a/test_b.py", "b_test.py", "conftest.py", "a/test/b.py"])
def test_tests_are_known_by_their_names(path):
    assert is_test_file(path)


@pytest.mark.parametrize("path", ["a.py", "testing/a.py", "latest.py", "contest.py"])
def test_code_is_not_taken_for_tests(path):
    assert not is_test_file(path)
