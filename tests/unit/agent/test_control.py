"""Commands carried out in this process: every one is answered, and nothing is raised."""

import pytest
from homeostat_agent.commands import Command, digest_of
from homeostat_agent.control import Control
from homeostat_agent.reload import Outcome, Reloader

PROCESS = "0b9c7b4e-6f2a-4c0f-8e1d-2a4f3c5d6e7f"
CHANGE = {
    "id": "c1",
    "mode": "safe",
    "modules": [
        {"path": "not_loaded.py", "old_source": "def f():\n    return 1\n", "new_source": "def f():\n    return 2\n"}
    ],
}


class ScriptedReloader:
    """Stands where the reloader stands, and does what it is told."""

    def __init__(self, outcome=None, error=None):
        self.generation = 0
        self.changes = ()
        self.canaries = ()
        self.asked = []
        self._outcome, self._error = outcome, error

    def _do(self, name, what):
        self.asked.append(name)
        if self._error is not None:
            raise self._error
        return self._outcome

    def prepare(self, change):
        return self._do("prepare", change)

    def swap(self, change):
        return self._do("swap", change)

    def rollback(self, change_id):
        return self._do("rollback", change_id)

    def canary(self, change, terms):
        return self._do(("canary", terms), change)

    def renew(self, change_id, *, lease_s, percent):
        return self._do(("renew", lease_s, percent), change_id)

    def promote(self, change_id):
        return self._do("promote", change_id)

    def give_back_lapsed(self):
        self._do("give back", None)

    def become_forked_child(self):
        pass


def control(tmp_path=None, *, reloader=None, hmr=True, mode="safe"):
    make = (lambda haste: Reloader(str(tmp_path), haste=haste)) if reloader is None else (lambda _: reloader)
    return Control(process_id=PROCESS, hmr_enabled=hmr, hmr_mode=mode, make_reloader=make)


def ask(to, kind, body=None, *, now_ms=0, **over):
    body = {"change": CHANGE} if body is None else body
    fields = {"process_id": PROCESS, "generation": to.generation, "digest": digest_of(body), "expires_ms": 1000}
    command = Command(command_id="1", kind=kind, body=body, **(fields | over))
    return to.execute(command, hub_now_ms=now_ms)


def test_a_ping_is_answered_without_making_a_reloader(tmp_path):
    subject = Control(process_id=PROCESS, hmr_enabled=True, hmr_mode="safe", make_reloader=pytest.fail)
    assert ask(subject, "ping", {})["outcome"] == "pong"
    assert (subject.generation, subject.changes) == (0, [])


@pytest.mark.parametrize("kind", ["prepare", "swap"])
def test_where_hot_reload_is_off_the_answer_is_that_a_restart_is_needed(kind):
    reloader = ScriptedReloader()
    answer = ask(control(reloader=reloader, hmr=False), kind)
    assert answer["outcome"] == "restart_required"
    assert "disabled" in answer["detail"]
    assert reloader.asked == []


def test_where_hot_reload_is_off_a_rollback_has_nothing_to_do():
    assert ask(control(reloader=ScriptedReloader(), hmr=False), "rollback", {"change_id": "c1"})["outcome"] == "swapped"


def test_a_safe_process_takes_no_aggressive_change():
    reloader = ScriptedReloader()
    answer = ask(control(reloader=reloader), "swap", {"change": CHANGE | {"mode": "aggressive"}})
    assert (answer["outcome"], reloader.asked) == ("restart_required", [])


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"process_id": "x"}, "wrong-process"),
        ({"generation": 7}, "wrong-generation"),
        ({"digest": "sha256:0"}, "wrong-digest"),
        ({"expires_ms": 0}, "expired"),
    ],
)
def test_a_command_not_meant_for_here_and_now_is_refused_and_reaches_nothing(over, code):
    reloader = ScriptedReloader()
    answer = ask(control(reloader=reloader), "swap", **over)
    assert (answer["outcome"], answer["code"], reloader.asked) == ("refused", code, [])


@pytest.mark.parametrize(
    "change",
    [
        None,
        [],
        {},
        CHANGE | {"id": 5},
        CHANGE | {"mode": "force"},
        CHANGE | {"modules": {}},
        CHANGE | {"modules": ["a.py"]},
        CHANGE | {"modules": [{"path": "a.py", "old_source": ""}]},
        CHANGE | {"modules": [{"path": "a.py", "old_source": "", "new_source": 1}]},
    ],
)
def test_a_change_of_the_wrong_shape_is_refused(change):
    reloader = ScriptedReloader()
    answer = ask(control(reloader=reloader), "swap", {"change": change})
    assert (answer["outcome"], answer["code"], reloader.asked) == ("refused", "malformed", [])


def test_a_rollback_without_a_change_is_refused():
    assert ask(control(reloader=ScriptedReloader()), "rollback", {})["code"] == "malformed"


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt(), MemoryError()])
def test_whatever_is_raised_in_a_swap_becomes_the_answer_failed(error):
    subject = control(reloader=ScriptedReloader(error=error))
    answer = ask(subject, "swap")
    assert answer["outcome"] == "failed"
    assert answer["detail"].startswith(f"{type(error).__name__} in the agent (control.py:")
    assert subject.faults == 1


def test_the_answer_carries_what_the_reloader_said_and_what_is_in_force():
    reloader = ScriptedReloader(Outcome("swapped", "d" * 600, swap_us=12, functions=("m:f",)))
    reloader.generation, reloader.changes = 4, ("c1",)
    subject = control(reloader=reloader)
    ask(subject, "prepare")
    answer = ask(subject, "swap")
    assert answer == {
        "command_id": "1",
        "outcome": "swapped",
        "code": "",
        "detail": "d" * 500,
        "swap_us": 12,
        "functions": ["m:f"],
        "runs": "",
        "generation": 4,
        "changes": ["c1"],
        "canaries": [],
    }


def test_a_rollback_of_what_is_not_in_force_does_not_ask_the_reloader():
    reloader = ScriptedReloader()
    assert ask(control(reloader=reloader), "rollback", {"change_id": "other"})["outcome"] == "swapped"
    assert reloader.asked == []


def test_a_child_that_was_forked_in_the_middle_of_a_change_takes_no_more():
    class Forking(ScriptedReloader):
        def swap(self, change):
            subject.become_forked_child("11111111-1111-4111-8111-111111111111")  # as the at-fork hook does
            return Outcome("swapped", "")

    subject = control(reloader=Forking())
    ask(subject, "swap")
    answer = ask(subject, "swap", process_id="11111111-1111-4111-8111-111111111111")
    assert answer["outcome"] == "restart_required"
    assert "forked" in answer["detail"]


def test_a_child_forked_at_rest_goes_on_under_its_own_id():
    reloader = ScriptedReloader(Outcome("swapped", ""))
    subject = control(reloader=reloader)
    subject.become_forked_child("11111111-1111-4111-8111-111111111111")
    assert ask(subject, "swap")["code"] == "wrong-process"
    assert ask(subject, "swap", process_id="11111111-1111-4111-8111-111111111111")["outcome"] == "swapped"


def test_with_the_real_reloader_a_file_that_is_not_loaded_can_be_swapped(tmp_path):
    subject = control(tmp_path)
    assert ask(subject, "prepare")["outcome"] == "swapped"
    assert subject.generation == 0
    assert ask(subject, "swap")["outcome"] == "swapped"
    assert (subject.generation, subject.changes) == (1, ["c1"])


def test_a_forked_child_names_the_process_it_was_forked_from(tmp_path):
    subject = Control(
        process_id=PROCESS, hmr_enabled=True, hmr_mode="safe", make_reloader=pytest.fail, loaded=lambda: ["shop.py"]
    )
    answer = ask(subject, "loaded", {})
    assert (answer["files"], answer["parent"]) == (["shop.py"], "")
    subject.become_forked_child("child")
    answer = ask(subject, "loaded", {}, process_id="child")
    assert (answer["files"], answer["parent"]) == (["shop.py"], PROCESS)


def test_a_child_that_is_forked_while_its_parent_names_files_takes_changes(tmp_path):
    reloader = ScriptedReloader()
    found = []

    def loaded():
        subject.become_forked_child("child")
        found.append(1)
        return []

    subject = Control(
        process_id=PROCESS, hmr_enabled=True, hmr_mode="safe", make_reloader=lambda _: reloader, loaded=loaded
    )
    ask(subject, "loaded", {})
    assert found and ask(subject, "swap", process_id="child")["outcome"] != "restart_required"


def test_a_module_that_cannot_be_looked_at_names_nothing_and_harms_nobody():
    def loaded():
        raise RuntimeError("a module of the host")

    subject = Control(process_id=PROCESS, hmr_enabled=True, hmr_mode="safe", make_reloader=pytest.fail, loaded=loaded)
    assert (ask(subject, "loaded", {})["files"], subject.faults) == (None, 1)
