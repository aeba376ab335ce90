"""Canaries by command: what is checked of each, and what the answers say."""

import pytest
from canary_scene import Clock, units
from homeostat_agent.commands import Command, digest_of
from homeostat_agent.control import MAX_LEASE_S, Control
from homeostat_agent.reload import Reloader
from reload_host import Host

PROCESS = "0b9c7b4e-6f2a-4c0f-8e1d-2a4f3c5d6e7f"
CHILD = "11111111-1111-4111-8111-111111111111"
OLD, NEW = "def f():\n    return 1\n", "def f():\n    return 2\n"


@pytest.fixture
def host(tmp_path):
    with Host.at(tmp_path) as made:
        yield made


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def control(host, clock):
    """A control over a host that has loaded `m`."""
    host.module = host.load("m", OLD)
    made = Control(
        process_id=PROCESS,
        hmr_enabled=True,
        hmr_mode="safe",
        make_reloader=lambda haste: Reloader(str(host.root), patience_s=0.3, haste=haste, clock_s=clock),
    )
    made.body = {
        "change": {
            "id": "c1",
            "mode": "safe",
            "modules": [{"path": host.path("m"), "old_source": OLD, "new_source": NEW}],
        },
        "percent": 100,
        "key": None,
        "lease_s": 10,
    }
    return made


def ask(control, kind, body, **over):
    fields = {"process_id": control.process_id, "generation": control.generation, "digest": digest_of(body)}
    command = Command(command_id="1", kind=kind, body=body, **({"expires_ms": 1000} | fields | over))
    return control.execute(command, hub_now_ms=0)


def test_a_canary_begins_and_its_answer_says_what_runs_and_for_how_long(host, control):
    answer = ask(control, "canary", control.body)
    assert answer == {
        "command_id": "1",
        "outcome": "swapped",
        "code": "",
        "detail": f"{host.package}.m:f routed",
        "swap_us": answer["swap_us"],
        "functions": [f"{host.package}.m:f"],
        "runs": "canary",
        "generation": 1,
        "changes": ["c1"],
        "canaries": [{"change": "c1", "percent": 100, "lease_ms": 10_000}],
    }
    assert host.module.f() == 2


def test_it_is_renewed_grows_and_is_promoted(host, control, clock):
    ask(control, "canary", control.body | {"percent": 0})
    clock.pass_s(9)
    assert host.module.f() == 1
    answer = ask(control, "renew", {"change_id": "c1", "lease_s": 20, "percent": 100})
    assert (answer["outcome"], answer["generation"]) == ("swapped", 1)
    assert answer["canaries"] == [{"change": "c1", "percent": 100, "lease_ms": 20_000}]
    clock.pass_s(19)
    assert ask(control, "renew", {"change_id": "c1", "lease_s": 5})["canaries"][0]["percent"] == 100
    answer = ask(control, "promote", {"change_id": "c1"})
    assert (answer["outcome"], answer["canaries"], answer["changes"], answer["generation"]) == (
        "swapped",
        [],
        ["c1"],
        2,
    )
    assert host.module.f() == 2
    assert ask(control, "rollback", {"change_id": "c1"})["outcome"] == "swapped"
    assert host.module.f() == 1


def test_a_rollback_in_the_middle_gives_everything_back(host, control):
    ask(control, "canary", control.body)
    answer = ask(control, "rollback", {"change_id": "c1"})
    assert (answer["outcome"], answer["changes"], answer["canaries"], answer["generation"]) == ("swapped", [], [], 2)
    assert host.module.f() == 1


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"process_id": "x"}, "wrong-process"),
        ({"generation": 7}, "wrong-generation"),
        ({"digest": "sha256:0"}, "wrong-digest"),
        ({"expires_ms": 0}, "expired"),
    ],
)
@pytest.mark.parametrize("kind", ["canary", "renew", "promote"])
def test_what_is_not_meant_for_here_and_now_is_refused(host, control, kind, over, code):
    body = control.body if kind == "canary" else {"change_id": "c1", "lease_s": 10}
    answer = ask(control, kind, body, **over)
    assert (answer["outcome"], answer["code"], host.module.f()) == ("refused", code, 1)


@pytest.mark.parametrize(
    "terms",
    [
        {"percent": -1},
        {"percent": 100.1},
        {"percent": True},
        {"percent": None},
        {"percent": "10"},
        {"lease_s": 0},
        {"lease_s": -1},
        {"lease_s": MAX_LEASE_S + 1},
        {"lease_s": None},
        {"key": 5},
        {"key": "body:x"},
        {"key": "header:"},
        {"change": {"id": 5}},
    ],
)
def test_terms_that_are_none_are_refused_before_anything_moves(host, control, terms):
    answer = ask(control, "canary", control.body | terms)
    assert (answer["outcome"], answer["code"]) == ("refused", "malformed")
    assert (host.module.f(), control.changes) == (1, [])


@pytest.mark.parametrize("body", [{}, {"change_id": 5}, {"change_id": "c1", "lease_s": 0}, {"change_id": "c1"}])
def test_a_renewal_without_change_or_lease_is_refused(control, body):
    ask(control, "canary", control.body)
    assert ask(control, "renew", body)["code"] == "malformed"
    assert control.canaries == [{"change": "c1", "percent": 100, "lease_ms": 10_000}]


@pytest.mark.parametrize("percent", [101, -0.1, "5", True])
def test_a_renewal_to_no_share_is_refused(control, percent):
    ask(control, "canary", control.body)
    assert ask(control, "renew", {"change_id": "c1", "lease_s": 5, "percent": percent})["code"] == "malformed"


def test_a_key_is_read_into_the_terms(host, control):
    ask(control, "canary", control.body | {"key": "cookie:sid", "percent": 12.5})
    (switch,) = control._reloader.canaries
    assert (switch.key.place, switch.key.name, switch.percent) == ("cookie", "sid", 12.5)


@pytest.mark.parametrize("kind", ["renew", "promote"])
def test_of_a_canary_that_is_none_the_answer_is_failed(control, kind):
    answer = ask(control, kind, {"change_id": "c1", "lease_s": 10})
    assert (answer["outcome"], "no canary" in answer["detail"]) == ("failed", True)


@pytest.mark.parametrize("kind", ["canary", "renew", "promote"])
def test_where_hot_reload_is_off_there_is_no_canary(control, kind):
    off = Control(process_id=PROCESS, hmr_enabled=False, hmr_mode="safe", make_reloader=pytest.fail)
    body = control.body if kind == "canary" else {"change_id": "c1", "lease_s": 10}
    assert ask(off, kind, body)["outcome"] == "restart_required"


def test_a_lease_that_ran_out_is_given_back_by_the_agent_itself(host, control, clock):
    control.give_back_lapsed()
    ask(control, "canary", control.body)
    clock.pass_s(10)
    assert control.canaries == [{"change": "c1", "percent": 0, "lease_ms": 0}]
    control.give_back_lapsed()
    assert (control.canaries, control.changes, control.generation, host.module.f()) == ([], [], 2, 1)
    (report,) = control.take_reports()
    assert (report.change_id, report.lapsed) == ("c1", True)


def test_what_is_raised_in_giving_back_is_counted_and_not_let_out(control, clock, host):
    ask(control, "canary", control.body)
    clock.pass_s(10)

    def broken():
        raise RuntimeError("x")

    control._reloader.give_back_lapsed = broken
    control.give_back_lapsed()
    assert (control.faults, host.module.f()) == (1, 1), "and the calls see the lease themselves"


def test_a_child_goes_on_with_lease_and_share_and_is_commanded_by_its_own_name(host, control, clock):
    ask(control, "canary", control.body)
    host.module.f()
    control.become_forked_child(CHILD)
    assert [units(report)[0]["new"] for report in control.take_reports()] == [0]
    assert control.canaries == [{"change": "c1", "percent": 100, "lease_ms": 10_000}]
    assert ask(control, "promote", {"change_id": "c1"}, process_id=PROCESS)["code"] == "wrong-process"
    clock.pass_s(10)
    control.give_back_lapsed()
    assert (control.changes, host.module.f()) == ([], 1)


def test_a_child_that_was_forked_in_the_middle_of_a_change_sees_the_lease_in_its_calls(host, control, clock):
    ask(control, "canary", control.body)
    control._busy = True  # as while another thread is at a command
    control.become_forked_child(CHILD)
    assert host.module.f() == 2
    clock.pass_s(10)
    control.give_back_lapsed()
    assert (host.module.f(), control.changes) == (1, ["c1"])


def with_source(control, new):
    module = control.body["change"]["modules"][0] | {"new_source": new}
    return control.body | {"change": control.body["change"] | {"modules": [module]}}


@pytest.mark.parametrize(
    "new",
    [
        "def f(:\n    return 2\n",
        "import nothing_of_that_name\n\n\ndef f():\n    return 2\n",
        "def refuse(function):\n    raise ValueError(function)\n\n\n@refuse\ndef f():\n    return 2\n",
        "raise RuntimeError\n\n\ndef f():\n    return 2\n",
        "",
    ],
    ids=["does not compile", "import error", "decorator that raises", "raises at the top", "nothing left"],
)
def test_a_source_that_nothing_good_can_come_of_routes_no_call_and_leaves_no_trace(host, control, new):
    answer = ask(control, "canary", with_source(control, new))
    assert answer["outcome"] in ("restart_required", "failed")
    assert answer["detail"]
    assert (answer["changes"], answer["canaries"], host.module.f()) == ([], [], 1)
    assert ask(control, "canary", control.body)["outcome"] == "swapped"
    assert host.module.f() == 2


def test_a_function_that_has_two_patches_runs_the_first_until_that_one_is_over(host, control):
    ask(control, "canary", control.body)
    second = with_source(control, OLD.replace("1", "3"))
    second = second | {"change": second["change"] | {"id": "c2"}}
    for kind in ("canary", "swap"):
        answer = ask(control, kind, second)
        assert (answer["outcome"], answer["changes"], host.module.f()) == ("failed", ["c1"], 2)
        assert "c1" in answer["detail"]
    ask(control, "rollback", {"change_id": "c1"})
    assert ask(control, "canary", second)["outcome"] == "swapped"
    assert host.module.f() == 3


@pytest.mark.parametrize("kind", ["canary", "renew", "promote"])
def test_a_command_that_is_played_again_after_its_canary_was_given_back_begins_nothing(host, control, kind):
    generation = control.generation
    ask(control, "canary", control.body)
    ask(control, "rollback", {"change_id": "c1"})
    body = control.body if kind == "canary" else {"change_id": "c1", "lease_s": 10, "percent": 100}
    answer = ask(control, kind, body, generation=generation)
    assert (answer["outcome"], answer["code"]) == ("refused", "wrong-generation")
    assert (answer["canaries"], host.module.f()) == ([], 1)
