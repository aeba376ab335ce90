"""Objects of the host that take part in a swap: brought to rest, handed over, asked for their health, let go on."""

import asyncio
import gc
import threading

import homeostat_agent
import pytest
from homeostat_agent.canary.switch import Terms
from homeostat_agent.reload import Reloader
from homeostat_agent.reload.change import Outcome
from homeostat_agent.reload.retreat import Retreat
from homeostat_agent.reload.targets import EVERYBODY, Targets, is_well

ENGINE = """
    class Engine:
        def __init__(self):
            self.orders = {"a": 1}
            self.log = []

        def quiesce(self):
            self.log.append("quiesce")

        def export_state(self):
            self.log.append("export old")
            return dict(self.orders)

        def import_state(self, state):
            self.log.append("import old")
            self.orders = state

        def health(self):
            return {"healthy": True}

        def resume(self):
            self.log.append("resume")

        def total(self):
            return sum(self.orders.values())
"""
LISTS = (
    ('self.log.append("import old")', 'self.log.append("import new")'),
    ("self.orders = state", "self.orders = list(state.items())"),
    ('self.log.append("export old")', 'self.log.append("export new")'),
    ("sum(self.orders.values())", "sum(count for _, count in self.orders)"),
)


@pytest.fixture
def targets(host):
    made = Targets()
    host.reloader = Reloader(str(host.root), patience_s=0.3, targets=made)
    return made


@pytest.fixture
def engine(host, targets):
    made = host.load("shop", ENGINE).Engine()
    assert targets.add(made, timeout_s=5.0)
    return made


def test_it_rests_hands_its_state_over_and_goes_on(host, engine):
    outcome = host.swap("shop", *LISTS)
    assert outcome.outcome == "swapped", outcome.detail
    assert engine.log == ["quiesce", "export old", "import new", "resume"]
    assert (engine.orders, engine.total()) == ([("a", 1)], 1)


def test_a_change_of_another_file_does_not_concern_it(host, engine):
    host.load("other", "def f():\n    return 1\n")
    assert host.swap("other", ("1", "2")).outcome == "swapped"
    assert engine.log == []


def test_a_change_of_the_file_of_a_base_class_concerns_it(host, targets):
    host.load("base", ENGINE)
    heir = host.load("heir", f"from {host.package}.base import Engine\n\nclass Heir(Engine):\n    pass\n").Heir()
    targets.add(heir)
    assert host.swap("base", *LISTS).outcome == "swapped"
    assert heir.log == ["quiesce", "export old", "import new", "resume"]


@pytest.mark.parametrize(
    "ill", ["return {'healthy': False}", "return {}", "return None", "return 1 / 0", "return 'ok'"]
)
def test_what_is_not_plainly_well_takes_the_swap_back_with_its_state(host, engine, ill):
    outcome = host.swap("shop", *LISTS, ('return {"healthy": True}', ill))
    assert outcome.outcome == "failed" and outcome.detail.startswith("post_swap_failed: Engine")
    assert engine.log == ["quiesce", "export old", "import new", "import old", "resume"]
    assert (engine.orders, engine.total(), engine.health()) == ({"a": 1}, 1, {"healthy": True})
    assert host.reloader.changes == ()


@pytest.mark.parametrize(
    "step, edit, code",
    [
        ("quiesce", None, "quiesce_failed"),
        ("export_state", None, "state_export_failed"),
        ("import_state", ("self.orders = state", "self.orders = state[0]"), "state_import_failed"),
    ],
)
def test_a_step_that_fails_leaves_all_as_it_was_and_lets_it_go_on(host, engine, step, edit, code):
    if edit is None:
        setattr(engine, step, lambda: 1 / 0)
    outcome = host.swap("shop", ("sum(self.orders.values())", "-1"), *([edit] if edit else []))
    assert outcome.outcome == "failed" and outcome.detail.startswith(f"{code}: Engine.{step}: ")
    assert engine.total() == 1 and engine.orders == {"a": 1}
    assert engine.log[-1] == "resume"


def test_one_that_does_not_come_to_rest_in_time_ends_it_and_all_go_on(host, targets):
    module = host.load("shop", ENGINE)
    first, stuck = module.Engine(), module.Engine()
    release = threading.Event()
    stuck.quiesce = release.wait
    targets.add(first)
    targets.add(stuck, timeout_s=0.05)
    outcome = host.swap("shop", *LISTS)
    release.set()
    assert outcome.outcome == "failed" and outcome.detail.startswith("quiesce_timeout: Engine.quiesce: no answer")
    assert first.log == ["quiesce", "resume"] and stuck.log == ["resume"]
    assert first.total() == 1


@pytest.mark.parametrize("kind", ["plain", "async", "on a loop"])
def test_one_that_comes_to_rest_after_it_was_given_up_goes_on_all_the_same(host, targets, kind):
    module = host.load(
        "shop",
        """
        import asyncio, threading
        class Plain:
            resting = False
            def __init__(self):
                self.release, self.ended = threading.Event(), threading.Event()
            def quiesce(self):
                self.release.wait(30)
                self.resting = True
            def resume(self):
                if self.resting:
                    self.ended.set()
                self.resting = False
            def size(self):
                return 1
        class Async(Plain):
            async def quiesce(self):
                while not self.release.is_set():
                    await asyncio.sleep(0.001)
                self.resting = True
            async def resume(self):
                Plain.resume(self)
        """,
    )

    def swap(pool):
        outcome = host.swap("shop", ("return 1", "return 2"))
        pool.release.set()
        assert pool.ended.wait(30)
        return outcome

    async def on_a_loop(pool):
        targets.add(pool, timeout_s=0.05)
        return await asyncio.to_thread(swap, pool)

    pool = module.Plain() if kind == "plain" else module.Async()
    if kind == "on a loop":
        outcome = asyncio.run(on_a_loop(pool))
    else:
        targets.add(pool, timeout_s=0.05)
        outcome = swap(pool)
    assert outcome.detail.startswith("quiesce_timeout")
    assert (pool.resting, pool.size()) == (False, 1)


@pytest.mark.parametrize("ends", ["another cannot export", "something else runs by then"])
def test_a_state_that_was_taken_out_is_given_back_where_the_swap_is_refused(host, targets, ends):
    module = host.load("shop", ENGINE)
    first, second = module.Engine(), module.Engine()

    def move_out():
        state, first.orders = first.orders, None
        return state

    def fail():
        if ends == "another cannot export":
            raise RuntimeError
        module.Engine.total.__code__ = (lambda self: 7).__code__  # by somebody else, and to neither source
        return {}

    first.export_state, second.export_state = move_out, fail
    targets.add(first)
    targets.add(second)
    outcome = host.swap("shop", *LISTS)
    assert outcome.outcome in ("failed", "restart_required")
    assert first.orders == {"a": 1} and first.log[-1] == "resume"


def test_a_state_that_the_old_code_does_not_take_back_is_told(host, engine):
    engine.import_state = lambda state: 1 / 0
    outcome = host.swap("shop", ("sum(self.orders.values())", "-1"))
    assert outcome.outcome == "failed"
    assert outcome.detail.count("state_import_failed: Engine.import_state: ZeroDivisionError was raised") == 2


def test_what_could_not_be_put_back_is_said_and_may_be_taken_back_later(host, engine, monkeypatch):
    change = host.edit("shop", ("sum(self.orders.values())", "-1"), ('{"healthy": True}', '{"healthy": False}'))
    with monkeypatch.context() as broken:
        broken.setattr(Retreat, "run", lambda self: Outcome("failed", "an assignment was refused"))
        outcome = host.reloader.swap(change)
    assert outcome.outcome == "failed" and "it could not be put back: an assignment was refused" in outcome.detail
    assert host.reloader.changes == (change.id,) and engine.total() == -1
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert (host.reloader.changes, engine.total()) == ((), 1)


def test_one_that_cannot_resume_is_told_and_the_others_do(host, targets):
    module = host.load("shop", ENGINE)
    first, second = module.Engine(), module.Engine()
    second.resume = lambda: 1 / 0
    targets.add(first)
    targets.add(second)
    outcome = host.swap("shop", *LISTS)
    assert outcome.outcome == "swapped" and "Engine could not resume: ZeroDivisionError was raised" in outcome.detail
    assert first.log[-1] == "resume"


def test_one_that_comes_to_rest_and_has_no_way_to_resume_is_not_asked_to(host, targets):
    module = host.load(
        "shop", "class Pool:\n    def quiesce(self):\n        pass\n\n    def size(self):\n        return 1\n"
    )
    pool = module.Pool()
    targets.add(pool)
    outcome = host.swap("shop", ("return 1", "return 2"))
    assert (outcome.outcome, pool.size()) == ("swapped", 2)
    assert "resume" not in outcome.detail


def test_a_rollback_hands_the_state_back_and_is_not_held_up_by_what_cannot(host, engine):
    change = host.edit("shop", *LISTS)
    host.reloader.swap(change)
    engine.log.clear()
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert engine.log == ["export new", "import old"]
    assert (engine.orders, engine.total()) == ({"a": 1}, 1)


def test_a_rollback_goes_on_where_the_state_cannot_be_had(host, engine):
    change = host.edit("shop", *LISTS)
    host.reloader.swap(change)
    engine.export_state = lambda: 1 / 0
    outcome = host.reloader.rollback(change.id)
    assert outcome.outcome == "swapped" and "state_export_failed" in outcome.detail
    assert host.reloader.changes == ()


def test_what_hands_its_state_over_is_not_tried_on_a_share_of_the_calls(host, engine):
    change = host.edit("shop", *LISTS)
    outcome = host.reloader.canary(change, Terms(percent=10.0, lease_s=60.0, key=None))
    assert outcome.outcome == "not_routable" and "Engine hands its state over" in outcome.detail
    assert engine.log == [] and engine.total() == 1


def test_one_without_state_rests_for_the_promotion_and_ends_it_where_it_is_ill(host, targets):
    module = host.load(
        "shop",
        """
        class Pool:
            log = []
            def quiesce(self):
                self.log.append("quiesce")
            def health(self):
                return True
            def resume(self):
                self.log.append(f"resume at {self.size()}")
            def size(self):
                return 1
        """,
    )
    pool = module.Pool()
    targets.add(pool)
    change = host.edit("shop", ("return 1", "return 2"))
    assert host.reloader.canary(change, Terms(percent=10.0, lease_s=60.0, key=None)).outcome == "swapped"
    assert pool.log == []
    pool.health = lambda: {"healthy": True, "status": "degraded"}
    outcome = host.reloader.promote(change.id)
    assert outcome.outcome == "failed" and outcome.detail.startswith("post_swap_failed")
    assert "put back: " in outcome.detail
    assert pool.log == ["quiesce", "resume at 1"], "it goes on with the code that it goes on with"
    assert pool.size() == 1 and host.reloader.changes == () and host.reloader.canaries == ()
    assert [report.change_id for report in host.reloader.take_reports()] == [change.id]


def test_async_methods_run_on_the_loop_of_the_host(host, targets):
    module = host.load(
        "shop",
        """
        import asyncio

        class Engine:
            loop = None
            async def quiesce(self):
                self.loop = asyncio.get_running_loop()
            async def health(self):
                await asyncio.sleep(0)
                return True
            def total(self):
                return 1
        """,
    )

    async def main():
        engine = module.Engine()
        targets.add(engine)
        outcome = await asyncio.to_thread(host.swap, "shop", ("return 1", "return 2"))
        return engine, outcome, asyncio.get_running_loop()

    engine, outcome, loop = asyncio.run(main())
    assert outcome.outcome == "swapped", outcome.detail
    assert engine.loop is loop


def test_async_methods_of_a_host_without_a_loop_run_all_the_same(host, targets):
    module = host.load(
        "shop",
        """
        class Engine:
            async def health(self):
                return {"status": "ok"}
            def total(self):
                return 1
        """,
    )
    engine = module.Engine()
    targets.add(engine)
    assert host.swap("shop", ("return 1", "return 2")).outcome == "swapped"
    assert engine.total() == 2


def test_a_registered_object_is_held_weakly_and_once(host, targets):
    engine = host.load("shop", ENGINE).Engine()
    targets.add(engine)
    targets.add(engine)
    path = str((host.root / host.path("shop")).resolve())
    assert len(targets.of([path])) == 1
    del engine
    gc.collect()
    assert targets.of([path]) == []


@pytest.mark.parametrize("target", [object(), 5, "text", None, type("Plain", (), {"__slots__": ()})()])
def test_what_has_no_method_for_it_does_not_take_part(target):
    assert homeostat_agent.take_part(target) is False


def test_what_cannot_be_held_weakly_does_not_take_part():
    assert homeostat_agent.take_part(type("Slotted", (), {"__slots__": (), "health": lambda self: True})()) is False


def test_a_program_registers_without_an_agent():
    class Engine:
        def health(self):
            return True

    engine = Engine()
    assert homeostat_agent.take_part(engine, name="engine") is True
    (found,) = [item for item in EVERYBODY.of([__file__]) if item.host is engine]
    assert found.name == "engine"


@pytest.mark.parametrize(
    "said, well",
    [
        (True, True),
        (1, False),
        ({"healthy": True}, True),
        ({"ok": True, "status": "Healthy"}, True),
        ({"healthy": True, "ok": False}, False),
        ({"healthy": 1}, False),
        ({"status": "degraded"}, False),
        ({"message": "fine"}, False),
        (None, False),
        ([True], False),
    ],
)
def test_only_what_plainly_says_so_is_well(said, well):
    assert is_well(said) is well


LOCKED = """
    import threading

    class Engine:
        def __init__(self):
            self.lock, self.waiting = threading.Lock(), threading.Event()
            self.orders = {"a": 1}

        def quiesce(self):
            self.lock.acquire()

        def export_state(self):
            return dict(self.orders)

        def import_state(self, state):
            self.orders = state

        def health(self):
            return True

        def resume(self):
            self.lock.release()

        def add(self, name):
            self.waiting.set()
            with self.lock:
                self.orders[name] = 1
"""
PAIRS = (
    ("self.orders = state", "self.orders = list(state.items())"),
    ("self.orders[name] = 1", "self.orders.append((name, 1))"),
)


def test_a_call_that_waits_inside_of_what_changes_ends_the_swap(host, targets):
    """It would go on in the old code, on the state of the new one."""
    engine = host.load("shop", LOCKED).Engine()
    targets.add(engine)
    late = threading.Thread(target=engine.add, args=("b",))
    rest = engine.quiesce

    def quiesce():
        rest()
        late.start()
        assert engine.waiting.wait(30)

    engine.quiesce = quiesce
    outcome = host.swap("shop", *PAIRS)
    late.join(30)
    assert outcome.outcome == "failed"
    assert outcome.detail.startswith("quiesce_timeout: Engine: a call in `add` did not end, and would go on in the old")
    assert engine.orders == {"a": 1, "b": 1}


def test_a_call_in_flight_that_ends_has_done_its_work_before_the_state_is_taken(host, targets):
    engine = host.load("shop", LOCKED).Engine()
    targets.add(engine)
    engine.lock.acquire()
    early = threading.Thread(target=engine.add, args=("b",))
    early.start()
    assert engine.waiting.wait(30)

    def quiesce():  # lets the one call end that has begun, and no other begin
        engine.lock.release()

    engine.quiesce, engine.resume = quiesce, lambda: None
    outcome = host.swap("shop", *PAIRS)
    early.join(30)
    assert outcome.outcome == "swapped", outcome.detail
    assert engine.orders == [("a", 1), ("b", 1)]


@pytest.mark.parametrize("says", ["is ill", "takes no state and has no health"])
def test_a_rollback_onto_a_state_that_the_old_code_cannot_use_needs_a_restart(host, engine, says):
    change = host.edit("shop", *LISTS)
    assert host.reloader.swap(change).outcome == "swapped"
    if says == "is ill":
        engine.health = lambda: {"healthy": isinstance(engine.orders, dict)}
        engine.export_state = lambda: [("a", 1)]  # as a new code may: the old one takes it, and cannot use it
    else:
        engine.health, engine.import_state = None, lambda state: 1 / 0
    outcome = host.reloader.rollback(change.id)
    assert outcome.outcome == "restart_required"
    assert "post_swap_failed: Engine" in outcome.detail and outcome.detail.endswith("needs a restart")
    again = host.reloader.rollback(change.id)
    assert again.outcome == "restart_required" and again.detail.startswith("everything was put back, but post_swap")
    assert host.reloader.changes == (change.id,)
    engine.orders = {}
    engine.health = lambda: True
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert host.reloader.changes == ()


def test_what_left_state_behind_may_be_swapped_in_again(host, engine):
    change = host.edit("shop", *LISTS)
    host.reloader.swap(change)
    engine.health = lambda: {"healthy": isinstance(engine.orders, list)}
    assert host.reloader.rollback(change.id).outcome == "restart_required"
    assert host.reloader.swap(change).outcome == "swapped"
    assert host.reloader.changes == (change.id,)
