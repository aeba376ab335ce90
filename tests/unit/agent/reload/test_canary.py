"""A share of the calls on new code: begun, promoted, given back, refused; and exact at every end."""

import asyncio
import gc
import inspect
import os
import sys
import types
import weakref

import pytest
from canary_scene import terms, units
from homeostat_agent.canary.key import parse_key
from homeostat_agent.reload import Change

SOURCE = '''
import functools
def f(x):
    """Old words."""
    return ("old", x)
def outer(n):
    def inner(x):
        return ("old", x + n)
    return inner
def deco(function):
    @functools.wraps(function)
    def wrapper(*a, **k):
        return ("old", function(*a, **k))
    return wrapper
@deco
def decorated(x, *, y=2):
    return ("old", x, y)
class Base:
    def who(self):
        return "old"
class Heir(Base):
    def who(self):
        return super().who(), "old"
    @property
    def size(self):
        return "old"
    @staticmethod
    def fixed(x, /):
        return ("old", x)
    @classmethod
    def made(cls):
        return cls.__name__, "old"
    def __secret(self):
        return "old"
    def tells(self):
        return self.__secret(), "old"
def again(n):
    return ("old",) if n == 0 else ("old", *again(n - 1))
def numbers():
    yield "old"
    yield "old"
async def later():
    return "old"
async def stream():
    yield "old"
'''
NEW_SOURCE = SOURCE.replace('"old"', "fresh()").replace("Old words.", "New words.").replace(
    "def f(x)", 'def fresh():\n    return "new"\ndef f(x)'
)  # fmt: skip


def everything(module, inner):
    async def drain():
        return [item async for item in module.stream()]

    heir = module.Heir()
    return [
        module.f(1), inner(1), module.outer(2)(1), module.decorated(1, y=3), heir.who(), heir.size, heir.fixed(1),
        heir.made(), heir.tells(), module.again(2), list(module.numbers()), asyncio.run(module.later()),
        asyncio.run(drain()),
    ]  # fmt: skip


def words(value):
    """Return the arms that a value tells of."""
    if isinstance(value, (tuple, list)):
        return set().union(*map(words, value)) if value else set()
    return {value} & {"old", "new"}


@pytest.fixture
def loaded(host):
    """Load SOURCE, and return the module, a closure made before, and the change."""
    module = host.load("m", SOURCE)
    return module, module.outer(2), host.change("m", SOURCE, NEW_SOURCE)


def codes(module):
    found = [*vars(module).values(), *vars(module.Heir).values(), *vars(module.Base).values(), module.Heir.size.fget]
    found += [module.Heir.fixed, module.Heir.made.__func__, module.decorated.__wrapped__]
    return {id(item): item.__code__ for item in found if isinstance(item, types.FunctionType)}


def docs(module):
    return module.f.__doc__, sorted(vars(module)), sorted(vars(module.Heir))


def test_every_kind_of_function_runs_the_arm_of_its_request_and_only_that(host, loaded, requests):
    module, inner, change = loaded
    assert host.reloader.canary(change, terms(50)).outcome == "swapped"
    seen = [requests.run(lambda _: everything(module, inner)) for _ in range(40)]
    arms = [words(values) for values in seen]
    assert all(arm in ({"old"}, {"new"}) for arm in arms)
    assert {word for arm in arms for word in arm} == {"old", "new"}
    assert all(words(value) == arm for values, arm in zip(seen, arms, strict=True) for value in values)
    (report,) = host.reloader.take_reports()
    assert units(report)[0] == {"old": arms.count({"old"}), "new": arms.count({"new"})}


def test_it_answers_what_it_routed_and_under_which_terms(host, loaded):
    _, _, change = loaded
    outcome = host.reloader.canary(change, terms(10))
    assert (outcome.outcome, outcome.runs, len(outcome.functions)) == ("swapped", "canary", 16)
    assert (host.reloader.changes, host.reloader.generation) == ((change.id,), 1)
    (switch,) = host.reloader.canaries
    assert (switch.change_id, switch.percent, switch.running) == (change.id, 10, True)
    assert host.reloader.prepare(change).runs == "canary"


def test_giving_back_restores_the_very_code_objects_and_no_trace_is_left(host, loaded):
    module, inner, change = loaded
    before, told, original = codes(module), docs(module), inner.__code__
    host.reloader.canary(change, terms(100))
    routed = weakref.ref(module.f.__code__)
    assert words(everything(module, inner)) == {"new"}
    outcome = host.reloader.rollback(change.id)
    assert outcome.outcome == "swapped", outcome
    assert codes(module) == before
    assert all(code is before[key] for key, code in codes(module).items())
    assert (inner.__code__ is original, docs(module), words(everything(module, inner))) == (True, told, {"old"})
    assert (host.reloader.changes, host.reloader.canaries, host.reloader.generation) == ((), (), 2)
    gc.collect()
    assert routed() is None


def test_promoting_is_the_swap_and_can_be_rolled_back_as_one(host, loaded, tmp_path):
    module, inner, change = loaded
    before, told = codes(module), docs(module)
    host.reloader.canary(change, terms(0))
    assert words(everything(module, inner)) == {"old"}
    outcome = host.reloader.promote(change.id)
    assert outcome.outcome == "swapped", outcome
    assert words(everything(module, inner)) == {"new"}
    assert (module.f.__doc__, host.reloader.prepare(change).runs) == ("New words.", "new")
    assert module.f.__code__.co_consts[-1] != before[id(module.f)].co_consts[-1]
    assert host.reloader.promote(change.id) is outcome
    assert (host.reloader.changes, host.reloader.canaries, host.reloader.generation) == ((change.id,), (), 2)
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert all(code is before[key] for key, code in codes(module).items())
    assert (docs(module), words(everything(module, inner))) == (told, {"old"})


def test_a_swap_of_what_is_under_canary_promotes_it(host, loaded):
    module, inner, change = loaded
    host.reloader.canary(change, terms(0))
    assert host.reloader.swap(change).outcome == "swapped"
    assert (words(everything(module, inner)), host.reloader.canaries) == ({"new"}, ())


def test_a_prepared_change_may_begin_as_a_canary(host, loaded):
    module, inner, change = loaded
    assert host.reloader.prepare(change).outcome == "swapped"
    assert host.reloader.canary(change, terms(100)).outcome == "swapped"
    assert words(everything(module, inner)) == {"new"}


def test_the_share_may_grow_to_all_and_the_lease_is_renewed_with_it(host, loaded, clock):
    module, inner, change = loaded
    host.reloader.canary(change, terms(0, lease_s=10))
    for percent, arm in ((100, {"new"}), (0, {"old"}), (100, {"new"})):
        clock.pass_s(8)
        outcome = host.reloader.renew(change.id, lease_s=10, percent=percent)
        assert (outcome.outcome, outcome.runs) == ("swapped", "canary")
        assert words(everything(module, inner)) == arm
    clock.pass_s(8)
    assert host.reloader.renew(change.id, lease_s=10).outcome == "swapped"
    assert words(everything(module, inner)) == {"new"}
    assert host.reloader.generation == 1


def test_a_lease_that_runs_out_sends_every_call_back_even_if_nobody_does_anything(host, loaded, clock):
    module, inner, change = loaded
    host.reloader.canary(change, terms(100, lease_s=10))
    clock.pass_s(10)
    assert words(everything(module, inner)) == {"old"}
    assert host.reloader.generation == 1, "no thread of the agent has had a turn"


def test_a_lease_that_ran_out_is_given_back_and_told_once(host, loaded, clock):
    module, inner, change = loaded
    before = codes(module)
    host.reloader.canary(change, terms(100, lease_s=10))
    everything(module, inner)
    host.reloader.give_back_lapsed()
    assert host.reloader.generation == 1, "it is not over yet"
    clock.pass_s(10)
    host.reloader.give_back_lapsed()
    host.reloader.give_back_lapsed()
    assert all(code is before[key] for key, code in codes(module).items())
    assert (host.reloader.changes, host.reloader.generation) == ((), 2)
    (report,) = host.reloader.take_reports()
    assert (report.change_id, report.percent, report.lapsed) == (change.id, 0, True)
    assert units(report)[0]["new"] > 0, "what was counted until then is told"
    assert host.reloader.take_reports() == ()


@pytest.mark.parametrize("late", ["renew", "promote"])
def test_what_comes_after_the_lease_finds_no_canary(host, loaded, clock, late):
    module, inner, change = loaded
    host.reloader.canary(change, terms(100, lease_s=10))
    clock.pass_s(11)
    ask = {
        "renew": lambda: host.reloader.renew(change.id, lease_s=10),
        "promote": lambda: host.reloader.promote(change.id),
    }
    outcome = ask[late]()
    assert (outcome.outcome, "no canary" in outcome.detail) == ("failed", True)
    assert (words(everything(module, inner)), host.reloader.changes) == ({"old"}, ())


def test_a_canary_may_begin_again_after_it_was_given_back(host, loaded, clock):
    module, inner, change = loaded
    for _ in range(3):
        assert host.reloader.canary(change, terms(100, lease_s=10)).outcome == "swapped"
        assert words(everything(module, inner)) == {"new"}
        clock.pass_s(11)
        assert words(everything(module, inner)) == {"old"}


def test_the_same_canary_again_sets_its_terms_and_routes_what_came_up_since(host, loaded):
    module, inner, _ = loaded
    change = host.change("m", SOURCE, SOURCE.replace('"old"', '"new"'))
    host.reloader.canary(change, terms(0))
    space = {"__name__": "private"}
    exec(compile(SOURCE, module.__file__, "exec"), space)
    assert host.reloader.canary(change, terms(100)).outcome == "swapped"
    assert words([space["f"](1), space["Heir"]().who()]) == {"new"}
    assert words(everything(module, inner)) == {"new"}
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert words([space["f"](1), space["Heir"]().who(), everything(module, inner)]) == {"old"}


def test_a_canary_with_another_key_or_another_content_is_refused(host, loaded):
    module, inner, change = loaded
    host.reloader.canary(change, terms(0))
    other = Change(change.id, host.change("m", SOURCE, SOURCE.replace("old", "odd")).modules, "safe")
    for outcome in (
        host.reloader.canary(change, terms(100, parse_key("query:u"))),
        host.reloader.canary(other, terms(100)),
    ):
        assert outcome.outcome == "failed"
    assert words(everything(module, inner)) == {"old"}


def test_nothing_else_may_change_the_files_under_a_canary(host, loaded):
    module, inner, change = loaded
    host.reloader.canary(change, terms(100))
    other = host.change("m", NEW_SOURCE, NEW_SOURCE.replace('"new"', '"newer"'))
    for ask in (host.reloader.prepare, host.reloader.swap, lambda item: host.reloader.canary(item, terms())):
        outcome = ask(other)
        assert (outcome.outcome, "under canary" in outcome.detail) == ("failed", True)
    assert words(everything(module, inner)) == {"new"}
    assert host.reloader.promote(change.id).outcome == "swapped"
    assert host.reloader.swap(other).outcome == "swapped"
    assert module.f(1) == ("newer", 1)


def test_closures_made_while_it_runs_follow_their_caller_and_go_back_too(host, loaded):
    module, _, change = loaded
    host.reloader.canary(change, terms(100))
    inner, wrapped = module.outer(1), module.deco(len)
    assert words([inner(1), wrapped("")]) == {"new"}
    host.reloader.renew(change.id, lease_s=60, percent=0)
    assert words([inner(1), wrapped("")]) == {"old"}
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert words([inner(1), wrapped("")]) == {"old"}
    assert inner.__code__ is module.outer(1).__code__


def test_a_closure_that_an_earlier_canary_left_behind_is_routed_by_the_next(host, loaded):
    module, inner, change = loaded
    host.reloader.canary(change, terms(100))
    left = inner.__code__
    host.reloader.rollback(change.id)
    inner.__code__ = left  # as a call in flight makes one, that goes on for longer than anybody waits
    assert inner(1) == ("old", 3)
    assert host.reloader.canary(Change("next", change.modules, "safe"), terms(100)).outcome == "swapped"
    assert words(everything(module, inner)) == {"new"}
    assert host.reloader.promote("next").outcome == "swapped"
    assert words(everything(module, inner)) == {"new"}
    assert host.reloader.rollback("next").outcome == "swapped"
    assert words(everything(module, inner)) == {"old"}


@pytest.mark.parametrize("promoted", [False, True])
def test_a_process_that_started_since_and_loaded_the_new_source_has_its_share_too(host, requests, promoted):
    module = host.load("m", NEW_SOURCE)
    change, inner = host.change("m", SOURCE, NEW_SOURCE), module.outer(2)
    assert words(everything(module, inner)) == {"new"}
    outcome = host.reloader.canary(change, terms(50))
    assert (outcome.outcome, len(outcome.functions)) == ("swapped", 15)
    seen = [words(requests.run(lambda _: everything(module, inner))) for _ in range(40)]
    assert {tuple(arm) for arm in seen} == {("old",), ("new",)}
    late = module.outer(1)
    host.reloader.renew(change.id, lease_s=60, percent=0)
    assert words([late(1), everything(module, inner)]) == {"old"}
    if promoted:
        assert host.reloader.promote(change.id).outcome == "swapped"
        assert words([late(1), everything(module, inner)]) == {"new"}
        assert (module.f.__doc__, host.reloader.prepare(change).runs) == ("New words.", "new")
    assert host.reloader.rollback(change.id).outcome == "swapped"
    assert words([late(1), everything(module, inner)]) == {"old"}
    assert (module.f.__doc__, hasattr(module, "fresh")) == ("Old words.", False)
    assert host.reloader.prepare(Change("next", change.modules, "safe")).runs == "old"


def test_recursion_keeps_half_of_its_depth(host, loaded):
    module, _, change = loaded
    host.reloader.canary(change, terms(100))
    limit = sys.getrecursionlimit()
    depth = len(inspect.stack(0))
    sys.setrecursionlimit(depth + 300)
    try:
        assert len(module.again(130)) == 131
        with pytest.raises(RecursionError):
            module.again(170)
    finally:
        sys.setrecursionlimit(limit)


def test_generators_under_way_end_on_the_arm_they_began_with(host, loaded):
    module, _, change = loaded
    host.reloader.canary(change, terms(100))
    item = module.numbers()
    assert next(item) == "new"
    host.reloader.renew(change.id, lease_s=60, percent=0)
    assert list(item) == ["new"]
    assert list(module.numbers()) == ["old", "old"]


def test_a_forked_child_goes_on_routing_with_counts_of_its_own(host, loaded, requests):
    module, _, change = loaded
    host.reloader.canary(change, terms(100))
    requests.run(lambda _: module.f(1))
    pid = os.fork()
    if pid == 0:
        try:
            host.reloader.become_forked_child()
            arms = [requests.run(lambda _: module.f(1))[0] for _ in range(3)]
            (report,) = host.reloader.take_reports()
            promoted = host.reloader.promote(change.id).outcome
            os._exit(0 if (arms, units(report)[0]["new"], promoted) == (["new"] * 3, 3, "swapped") else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    (report,) = host.reloader.take_reports()
    assert units(report)[0] == {"old": 0, "new": 1}
    assert host.reloader.rollback(change.id).outcome == "swapped"
