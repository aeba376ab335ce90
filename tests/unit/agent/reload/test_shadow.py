"""New code beside the old on copies: callers get what the old code gives, and what differs is told without values."""

import asyncio
import decimal
import threading

import pytest
from agents_harness import wait_for
from canary_scene import terms
from shadow_scene import body

WITHIN_S = 20.0
"""Generous: it matters only to a test that fails."""


@pytest.mark.parametrize(
    ("old", "new", "given", "found"),
    [
        ("return x + 1", "return 1 + x", 1, ("same", "")),
        ("return x + 1", "return x + 2", 1, ("result", "another int")),
        ("return x", "return float(x)", 1, ("result", "int became float")),
        ("return [x, {'secret': 1}]", "return [x, {'secret': '1'}]", 1, ("result", "[]{}: int became str")),
        ("return [x]", "return [x, x]", "word", ("result", "list of 1 became one of 2")),
        ("return {x: 1}", "return {x + 1: 1}", 1, ("result", "dict with other keys")),
        ("return {1: x, 2: 3}", "return {2: 3, 1: x}", 1, ("same", "")),
        ("return set(x)", "return {*reversed(x)}", "abc", ("same", "")),
        ("return float('nan')", "return -float('nan')", 1, ("same", "")),
        ("return 0.1 + 0.2 + x", "return 0.1 + (0.2 + x)", 0.3, ("same", "")),
        ("return x", "return x * 1.001", 1.0, ("result", "another float")),
        ("x.append(1)", "x += [1]", [], ("same", "")),
        ("x.append(1)", "x.append(2)", [], ("arguments", "argument 1[]: another int")),
        ("return 1", "x.append(1); return 1", [], ("arguments", "argument 1: list of 0 became one of 1")),
        ("return x[0]", "return x[-1]", [], ("same", "")),
        ("return len(x)", "return x[0]", [], ("raised", "IndexError")),
        ("return x[0]", "return 1", [], ("returned", "IndexError")),
        ("return x[0]", "return x['a']", [], ("raised_otherwise", "IndexError became TypeError")),
        ("raise ValueError(x)", "raise ValueError(x + 1)", 1, ("raised_otherwise", "ValueError[]: another int")),
        ("return 1", "raise SystemExit(3)", 1, ("raised", "SystemExit")),
        ("return decimal.Decimal(x)", "return +decimal.Decimal(x)", 1, ("same", "")),
        ("return decimal.Decimal(x)", "return -decimal.Decimal(x)", 1, ("result", "(Decimal)[]: another str")),
        ("return time.perf_counter()", "return 1 * time.perf_counter()", 1, ("unrepeatable", "")),
        ("return object()", "return (object)()", 1, ("not_comparable", "a object is itself alone")),
        ("return (i for i in [])", "return (i for i in [1])", 1, ("not_comparable", "")),
        ("return helper", "return (helper)", 1, ("same", "")),
        ("return 1", "return 2", range(3), ("result", "another int")),
        ("return 1", "return 2", threading.Lock(), ("not_copied", "")),
        ("return 1", "return 2", list(range(100_000)), ("not_copied", "")),
        ("return 1", "return 2", "x" * 2_000_000, ("not_copied", "")),
        ("return [0] * 100_000", "return [1] * 100_000", 1, ("not_comparable", "")),
    ],
)  # fmt: skip
def test_what_differs_is_told_by_kinds_and_the_caller_gets_the_old(shadow, old, new, given, found):
    shadowed = shadow(body(old), body(f"z = 0; {new}"))
    plain = {}
    exec(body(old), plain)
    got, outcome, detail = shadowed.call(given)
    assert (outcome, detail) == found
    try:
        expected = plain["f"](given)
    except Exception as error:
        assert (type(got), got.args) == (type(error), error.args)
    else:
        assert type(got) is type(expected)


def test_all_arguments_get_there_by_name_and_by_place(shadow):
    shadowed = shadow(body("return x, y, rest, k, more"), body("z = x; return z, y, rest, k, more"))
    got, outcome, _ = shadowed.call(1, 3, 4, 5, k=6, a=7)
    assert (got, outcome) == ((1, 3, (4, 5), 6, {"a": 7}), "same")


def test_the_new_code_never_touches_what_the_caller_holds(shadow):
    shadowed = shadow(body("return x"), body("x.append('new'); return x"))
    mine = ["mine"]
    got, outcome, _ = shadowed.call(mine)
    assert (got is mine, mine, outcome) == (True, ["mine"], "result")


def test_what_the_caller_does_with_the_result_afterwards_is_not_compared(shadow):
    shadowed = shadow(body("return x"), body("z = x; return z"))
    got = shadowed.module.f([1])
    got.append(2)
    assert list(shadowed.wait_for(1)) == [("f", "same", "")]


CLASSES = """
class Base:
    def who(self):
        return [self.name]
class Heir(Base):
    __slots__ = ("hidden",)
    def __init__(self, name):
        self.name, self.hidden = name, 1
    def who(self):
        return super().who() + [self.name]
    def twin(self):
        return Heir(self.name)
"""


def test_a_method_runs_on_a_copy_of_its_object(shadow):
    new = CLASSES.replace("+ [self.name]", "+ [self.__dict__.pop('name')]")
    shadowed = shadow(CLASSES, new, "Heir.who")
    heir = shadowed.module.Heir("a")
    assert heir.who() == ["a", "a"]
    (found,) = shadowed.wait_for(1)
    assert (found, heir.name) == (("Heir.who", "arguments", "argument 1.name: only one of both has it"), "a")


def test_objects_are_the_same_by_what_they_hold(shadow):
    new = CLASSES.replace("return Heir(self.name)", "return type(self)(self.name + '')")
    shadowed = shadow(CLASSES, new, "Heir.twin")
    shadowed.module.Heir("a").twin()
    assert list(shadowed.wait_for(1)) == [("Heir.twin", "same", "")]


NESTED = """
def inner(x):
    return ("old", x)
def f(x):
    return ("old", inner(x))
"""


def test_functions_called_by_a_compared_one_are_on_its_arm_and_not_compared_again(shadow):
    new = NESTED.replace('"old", x', '"new", x')
    shadowed = shadow(NESTED, new.replace('    return ("old', '    z = 0\n    return ("old'), "f", "inner")
    assert shadowed.module.f(1) == ("old", ("old", 1))
    assert list(shadowed.wait_for(1)) == [("f", "result", "[][]: another str")]


def test_a_closure_is_never_run_beside_itself(shadow, host):
    old = "def f(x):\n    seen = []\n    def add(y):\n        seen.append(y)\n    add(x)\n    return seen\n"
    shadowed = shadow(old, old.replace("append(y)", "append(-y)"), "f", "f.<locals>.add")
    assert shadowed.module.f(1) == [1]
    assert all(report.shadow is None for report in host.reloader.take_reports())


def test_what_is_not_shadowed_runs_the_old_code_alone(shadow, host):
    shadowed = shadow(NESTED, NESTED.replace("old", "new"), "other")
    assert shadowed.module.f(1) == ("old", ("old", 1))
    assert all(report.shadow is None for report in host.reloader.take_reports())


COROUTINES = """
import asyncio
async def inner(x):
    return x
async def f(x):
    return [await inner(x)]
async def waits(x):
    await asyncio.sleep(0)
    return x
async def numbers(x):
    yield x
def plain_numbers(x):
    yield x
"""


def test_coroutines_are_compared_where_they_wait_for_nothing(shadow):
    new = COROUTINES.replace("[await inner(x)]", "[await inner(x)] * 2").replace(
        "    return x\n", "    return (x, x)\n"
    )
    shadowed = shadow(COROUTINES, new, "f", "waits", "numbers", "plain_numbers")
    assert asyncio.run(shadowed.module.f(1)) == [1]
    assert list(shadowed.wait_for(1)) == [("f", "result", "list of 1 became one of 2")]
    assert asyncio.run(shadowed.module.waits(1)) == 1
    assert ("waits", "not_comparable", "it waits for something") in shadowed.wait_for(2)
    assert list(shadowed.module.plain_numbers(1)) == [1]


def test_a_coroutine_that_is_cancelled_or_given_up_keeps_no_other_from_being_compared(shadow):
    shadowed = shadow(COROUTINES, COROUTINES.replace("return x\n", "return (x, x)\n"), "waits")
    started = shadowed.module.waits(1)
    started.send(None)
    started.close()
    assert list(shadowed.wait_for(1)) == [("waits", "interrupted", "")]
    assert asyncio.run(shadowed.module.waits(1)) == 1
    shadowed.wait_for(2)


def test_it_runs_in_the_context_of_its_call(shadow):
    shadowed = shadow(body("return decimal.Decimal(1) / x"), body("return decimal.Decimal('1') / x"))
    with decimal.localcontext() as context:
        context.prec = 3
        got, outcome, _ = shadowed.call(3)
    assert (str(got), outcome) == ("0.333", "same")


def test_code_that_never_ends_holds_up_nobody_and_is_ended(shadow, clock):
    shadowed = shadow(body("return 1"), body("while True: pass"))
    assert shadowed.module.f(1) == 1
    wait_for(lambda: shadowed.runs)
    assert not shadowed.take()
    clock.pass_s(2)
    assert list(shadowed.wait_for(1)) == [("f", "unfinished", "")]
    wait_for(lambda: not shadowed.runs)
    clock.pass_s(30)
    assert shadowed.module.f(1) == 1
    wait_for(lambda: shadowed.runs)  # the next call is compared again


def test_new_code_has_four_times_as_long_as_the_old(shadow, clock):
    slow = "end = time.perf_counter() + 0.02\n    while time.perf_counter() < end: pass"
    shadowed = shadow(body(slow), body("while True: pass"))
    shadowed.switch.shadow._most_run_s = 0.0
    shadowed.module.f(1)
    wait_for(lambda: shadowed.runs and shadowed.switch.shadow._overdue_s < clock() + 29)
    took_s = shadowed.switch.shadow._job.old_s
    clock.pass_s(took_s * 3.9)
    shadowed.switch.watch()
    assert not shadowed.take()
    clock.pass_s(took_s * 0.2)
    shadowed.switch.watch()
    assert list(shadowed.take()) == [("f", "unfinished", "")]


def test_renewing_while_calls_are_compared_changes_nothing_of_what_is_found(shadow, host):
    """Each renewal looks through the process, and finds the functions that are just being compared."""
    old = "def g(x):\n    return x\ndef f(x):\n    return [g(x)] * 20\n"
    shadowed = shadow(old, old.replace("return x", "return (x, x)").replace("* 20", "* 30"), "f", "g")
    stop = threading.Event()
    wrong = []

    def serve():
        while not stop.is_set():
            if shadowed.module.f(1) != [1] * 20:
                wrong.append(1)
            shadowed.clock.pass_s(0.01)

    threads = [threading.Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            assert host.reloader.canary(shadowed.change, terms(0, lease_s=1e9)).outcome == "swapped"
        shadowed.wait_for(10)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert set(shadowed.found) <= {("f", "result", "list of 20 became one of 30"), ("g", "result", "int became tuple")}
    assert host.reloader.rollback(shadowed.change.id).outcome == "swapped"
    assert shadowed.module.f(1) == [1] * 20


def test_a_rollback_ends_what_runs_and_counts_nothing_of_it(shadow, host):
    shadowed = shadow(body("return 1"), body("while True: pass"))
    shadowed.module.f(1)
    thread = shadowed.switch.shadow._thread
    wait_for(lambda: shadowed.runs)
    outcome = host.reloader.rollback(shadowed.change.id)
    assert outcome.outcome == "swapped", outcome
    thread.join(WITHIN_S)
    assert (thread.is_alive(), shadowed.take(), shadowed.module.f(1)) == (False, {}, 1)


def test_code_that_takes_no_interruption_is_interrupted_until_it_does_also_after_the_rollback(shadow, host, clock):
    stubborn = "while y:\n        try:\n            while y: pass\n        except BaseException: y -= 1"
    shadowed = shadow(body("return 1"), body(stubborn))  # it gives in at the second time
    thread = shadowed.switch.shadow._thread
    shadowed.module.f(1)
    wait_for(lambda: shadowed.runs)
    host.reloader.rollback(shadowed.change.id)

    def ended():
        clock.pass_s(60)
        host.reloader.give_back_lapsed()
        return not thread.is_alive()

    wait_for(ended)
    assert (shadowed.take(), host.reloader._ending) == ({}, [])


def test_a_lease_that_ran_out_ends_it(shadow, clock, host):
    shadowed = shadow(body("return 1"), body("return 2"))
    thread = shadowed.switch.shadow._thread
    clock.pass_s(3601)
    assert shadowed.module.f(1) == 1
    host.reloader.give_back_lapsed()
    thread.join(WITHIN_S)
    assert (thread.is_alive(), shadowed.take(), host.reloader.canaries) == (False, {}, ())


def test_with_the_first_share_it_is_over_and_requests_that_had_begun_go_on_with_the_old_code(shadow, host, requests):
    shadowed = shadow(body("return 'old'"), body("return 'new'"))
    thread = shadowed.switch.shadow._thread

    def across(_):
        host.reloader.canary(shadowed.change, terms(100))
        return shadowed.module.f(1)

    assert requests.run(across) == "old"
    assert requests.run(lambda _: shadowed.module.f(1)) == "new"
    assert shadowed.module.f(1) == "new", "a unit of its own is told apart as well"
    thread.join(WITHIN_S)
    assert (thread.is_alive(), host.reloader.canaries[0].percent) == (False, 100)


def test_units_are_counted_on_the_old_arm_meanwhile(shadow, host, requests):
    shadowed = shadow(body("return 1"), body("return 2"))
    requests.run(lambda _: [shadowed.module.f(1) for _ in range(3)])
    shadowed.module.f(1)
    (report,) = host.reloader.take_reports()
    assert (report.percent, report.arms[False].units, report.arms[True].units) == (0, 2, 0)


def test_the_time_that_it_takes_is_a_tenth_of_one_core_at_most(shadow, clock):
    shadowed = shadow(body("return 1"), body("return 2"))
    clock.pass_s(1)
    shadowed.switch.shadow._rest(0.5)
    for _ in range(100):
        assert shadowed.module.f(1) == 1
    (report,) = shadowed.host.reloader.take_reports()
    assert (report.shadow.found, report.shadow.skipped) == ({}, 100)
    clock.pass_s(4.6)
    assert shadowed.call(1)[1:] == ("result", "another int")
    clock.pass_s(10)
    assert 0 <= shadowed.switch.shadow._to_pass <= 100, "the next is drawn among as many as were passed over"


def test_of_calls_that_always_come_in_a_row_each_is_compared(shadow):
    source = "def f(x):\n    return x\ndef second(x):\n    return x\ndef third(x):\n    return x\n"
    names = ("f", "second", "third")
    shadowed = shadow(source, source.replace("return x", "return -x"), *names)
    calls = [getattr(shadowed.module, name) for name in names]

    def row():
        for call in calls:
            call(1)
        wait_for(lambda: not (shadowed.runs or shadowed.switch.shadow._jobs))
        shadowed.clock.pass_s(10)
        return {name for name, _, _ in shadowed.take()} == set(names)

    wait_for(row)


def test_kinds_of_what_is_found_are_bounded(shadow):
    shadowed = shadow(body("return 1"), body("raise type('E' + str(x), (Exception,), {})"))
    for number in range(60):
        shadowed.module.f(number)
        wait_for(lambda done=number: len(shadowed.switch.shadow._found) > done and not shadowed.runs)
        shadowed.clock.pass_s(10)
    found = shadowed.take()
    assert (len(found), found["f", "raised", "(other)"]) == (51, 10)
