"""`homeostat doctor` and `homeostat verify`: every finding with its remedy, whatever else is broken."""

import json
import os
import subprocess
import sys

import pytest

from homeostat.adapters.process_start import process_started
from homeostat.adapters.supervising.slot import Record, remember_process, take_slot
from homeostat.cli import checks
from homeostat.cli.place import Place
from homeostat.core.errors import Unavailable


def hub_facts(url):
    return json.dumps({"url": url, "pid": os.getpid(), "started": process_started(os.getpid())})


@pytest.fixture
def committed(repository):
    (repository / "app.py").write_text("x = 1\n")
    git = ["git", "-C", repository, "-c", "user.name=a", "-c", "user.email=a@localhost"]
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "first"], check=True)
    return repository


NOBODYS = "00000000-0000-4000-8000-0000000000aa"


def place_of(repository):
    return Place(repository=repository, state_dir=repository / ".homeostat")


def looked(repository):
    """Return everything up to the sandboxes, whose self-test takes seconds."""
    found = {}
    for item in checks._diagnose(place_of(repository)):
        found[item.name] = item
        if item.name == "separation":
            break
    return found


def by_name(answer):
    return {item["name"]: item for item in json.loads(answer.out)["diagnoses"]}


def test_a_fresh_repository_is_told_what_is_missing(typed, committed):
    answer = typed("doctor", "--json", "--tests")
    found = by_name(answer)
    assert answer.code == 1 and json.loads(answer.out)["ok"] is False
    assert [item["name"] for item in json.loads(answer.out)["diagnoses"]].count("tests") == 1
    assert found["settings"]["level"] == found["repository"]["level"] == "ok"
    assert found["repository"]["detail"].startswith("main at ")
    for name, level, remedy in (
        ("state", "warn", "homeostat up makes it"),
        ("hub", "warn", "homeostat up"),
        ("live change", "warn", "set hmr.enabled = true"),
        ("tests", "fail", "set host.test_command"),
    ):
        assert (found[name]["level"], found[name]["remedy"]) == (level, remedy)
    assert found["separation"] == {"level": "ok", "name": "separation", "detail": "nothing runs now", "remedy": ""}
    assert [name for name in found if name.startswith("sandbox")]


def test_what_is_declared_pure_and_is_no_function_is_warned_of(typed, committed):
    (committed / "shop.py").write_text("class Cart:\n    def total(self):\n        return 1\n")
    pure = ["shop.py:Cart.total", "shop.py:Cart.totl", "*.py:Cart.*", "none/*.py:f"]
    (committed / "homeostat.toml").write_text(f"[canary]\npure = {json.dumps(pure)}\n")
    doctor, shown = typed("doctor", "--json"), typed("config", "show")
    found = [item for item in json.loads(doctor.out)["diagnoses"] if item["name"] == "pure functions"]
    for item, name in zip(found, ("shop.py:Cart.totl", "none/*.py:f"), strict=True):
        assert (
            item["level"] == "warn" and item["detail"] == f"canary.pure: {name!r} matches no function of the repository"
        )
        assert f"warning: {item['detail']}" in shown.err


def test_a_mode_that_takes_risks_is_warned_of(typed, committed):
    (committed / "homeostat.toml").write_text('[hmr]\nenabled = true\nmode = "aggressive"\n')
    found = by_name(typed("doctor", "--json"))["live change"]
    assert found["level"] == "warn" and "a risk that the plan names" in found["detail"]


def test_the_output_of_tests_that_fail_keeps_its_lines_below_the_table(capsys):
    failed = checks.Diagnosis(level="fail", name="tests", detail="2 fail\n  def f():\nE  x", remedy="mend them")
    checks._show_diagnoses([failed, checks.Diagnosis(level="ok", name="disk", detail="9 MB free")])
    told = capsys.readouterr().out.splitlines()
    assert told == ["fail\ttests\t2 fail\tmend them", "ok\tdisk\t9 MB free\t", "  tests |   def f():", "  tests | E  x"]


def test_one_thing_that_cannot_be_looked_at_hides_nothing_else(committed):
    """A wrong setting, an open state directory, a database that is none: all are named in one go."""
    (committed / "homeostat.toml").write_text("[hub]\nprot = 1\n")
    state = committed / ".homeostat"
    state.mkdir(mode=0o755)
    (state / "homeostat.sqlite").write_text("this is no database")
    (state / "run").mkdir()
    (state / "run" / "hub.json").write_text(hub_facts("http://127.0.0.1:9"))
    found = looked(committed)
    assert found["settings"].level == "fail" and "homeostat.toml:2" in found["settings"].detail
    assert found["state"].level == "fail" and found["state"].remedy.startswith("chmod 700")
    assert found["hub"].level == "fail"
    assert found["repository"].level == "ok" and "separation" in found
    assert [item for name, item in found.items() if name.startswith(("ledger", "verify")) and item.level == "fail"]


def test_a_repository_without_commits_is_a_finding(repository):
    found = looked(repository)
    assert found["repository"].level == "fail" and found["repository"].remedy


def test_what_a_look_raises_is_a_diagnosis():
    def locked():
        raise Unavailable("store-locked", "it is locked", hint="wait")

    def denied():
        raise PermissionError(13, "Permission denied", "/x")

    (one,), (other,) = checks._try("hub", locked), checks._try("state", denied)
    assert (one.level, one.detail, one.remedy) == ("fail", "it is locked", "wait")
    assert (other.level, other.detail) == ("fail", "/x: Permission denied")


def test_a_hub_that_runs_is_asked_how_it_is(hub):
    place = Place(repository=hub.context.state_dir, state_dir=hub.context.state_dir)
    place.hub_file.parent.mkdir(parents=True)
    place.hub_file.write_text(hub_facts(os.environ["HOMEOSTAT_HUB_URL"]))
    found = checks._hub(place)
    assert found.level == "ok" and "1 process(es) attached" in found.detail
    hub.context.troubles.note("recording", "git is locked")
    found = checks._hub(place)
    assert found.level == "fail" and "recording: git is locked" in found.detail
    hub.without_store("proposals", "actors")
    found = checks._hub(place)
    assert found.level == "fail" and "store" in found.detail


def test_verify_without_a_state_says_so_and_makes_nothing(typed, committed):
    answer = typed("verify")
    assert (answer.code, answer.out) == (1, "")
    assert f"error[no-state]: the repository {committed} has no state at {committed / '.homeostat'}" in answer.err
    assert "--state-dir" in answer.err and "homeostat/proposals" not in answer.err
    assert not (committed / ".homeostat").exists()


def test_verify_says_that_there_was_a_state_where_git_shows_it(typed, committed, tmp_path):
    subprocess.run(["git", "branch", "homeostat/proposals"], check=True, capture_output=True)
    answer = typed("verify", "--state-dir", tmp_path / "elsewhere")
    assert f"has no state at {tmp_path / 'elsewhere'}" in answer.err
    assert "its branch homeostat/proposals shows that there was one" in answer.err


def test_the_tests_are_tried_on_what_is_committed(committed):
    (committed / "test_it.py").write_text(
        "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_it(self):\n        self.assertTrue(True)\n"
    )
    toml = f'[host]\npython = "{sys.executable}"\ntest_command = ["python", "-m", "unittest"]\n'
    (committed / "homeostat.toml").write_text(toml)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@localhost"]
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "tests"], check=True)
    (committed / "test_it.py").write_text("this is not committed, and is not looked at")
    found = checks._tests_once(place_of(committed))
    assert found.level == "ok" and "1 tests pass in the sandbox" in found.detail
    (committed / "homeostat.toml").write_text("")
    found = checks._tests_once(place_of(committed))
    assert (found.level, found.remedy) == ("fail", "set host.test_command")


def test_verify_of_a_fresh_ledger_holds_and_of_a_shortened_one_does_not(typed, committed):
    assert typed("token", "--agent", "bot").code == 0
    answer = typed("verify", "--json")
    body = json.loads(answer.out)
    assert (answer.code, body["ok"]) == (0, True), body
    assert {tuple(check) for check in body["checks"]} == {("number", "name", "ok", "detail")}
    assert "the story holds" in typed("verify").err
    head = committed / ".homeostat" / "ledger-head.json"
    told = json.loads(head.read_text())
    head.write_text(json.dumps({**told, "size": told["size"] + 1}))
    answer = typed("verify")
    assert answer.code == 5 and "FAIL" in answer.out and "altered or is missing" in answer.err


def test_what_does_not_agree_is_named_with_a_command_that_mends_it(typed, committed):
    assert typed("token", "--agent", "bot").code == 0
    assert looked(committed)["consistency"].level == "ok"
    subprocess.run(["git", "branch", f"homeostat/proposal-{NOBODYS}"], check=True, capture_output=True)
    found = looked(committed)["invariant 8"]
    assert NOBODYS in found.detail and found.level == "warn"
    subprocess.run(found.remedy, shell=True, check=True, capture_output=True)
    assert looked(committed)["consistency"].level == "ok"


def with_restart_command(repository, *command):
    (repository / "homeostat.toml").write_text(f"[restart]\ncommand = {json.dumps(list(command))}\n")


def test_a_restart_command_that_is_not_there_is_named(committed):
    with_restart_command(committed, "no-such-program", "shop")
    found = looked(committed)["restart command"]
    assert (found.level, found.detail) == ("fail", "there is no program no-such-program")


def test_a_restart_command_that_bypasses_a_supervisor_of_ours_is_a_warning(committed):
    with_restart_command(committed, "true")
    assert looked(committed)["restart command"].level == "ok"
    place = place_of(committed)
    slot = take_slot(place.state_dir, ["shop"], committed)
    program = remember_process(os.getpid(), launch_file=committed / "launch", launch_id="l")
    slot.remember(Record(kind="up", command="shop", program=program))
    found = looked(committed)["restart command"]
    slot.close()
    assert found.level == "warn" and f"process {os.getpid()} (shop)" in found.detail and found.remedy


def test_without_a_restart_command_there_is_nothing_to_say(committed):
    assert "restart command" not in looked(committed)
