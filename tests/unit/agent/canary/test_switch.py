"""Which arm a unit is on: requests, tasks, threads; keys, shares, leases."""

import asyncio
import contextvars
import itertools
import os
import random
import threading

import pytest
from canary_scene import Clock, Requests, terms, units
from homeostat_agent.canary.key import parse_key
from homeostat_agent.canary.switch import Switch
from homeostat_agent.canary.unit import Unit


@pytest.fixture
def requests():
    return Requests()


@pytest.fixture
def clock():
    return Clock()


def opened(clock=None, change="c1", draw=None, **over):
    switch = Switch(change, terms(**over), clock_s=clock or Clock(), draw=draw or random.Random(7).random)
    switch.open()
    return switch


def taking_turns(*values):
    return itertools.cycle(values).__next__


def call(switch, error=None):
    """Do what a dispatcher does, and return the arm."""
    found = switch.pick()
    if isinstance(found, Unit):
        found.finish(error)
        return found.new
    return found


def test_a_request_keeps_the_arm_of_its_first_call(requests):
    switch = opened()
    for _ in range(50):
        assert len(set(requests.run(lambda _: [call(switch) for _ in range(10)]))) == 1


def test_only_requests_that_come_to_changed_code_are_counted(requests):
    switch = opened()
    for number in range(100):
        requests.run(lambda _, number=number: call(switch) if number % 4 == 0 else None)
    assert sum(units(switch.report())[0].values()) == 25


def test_the_share_of_requests_is_what_was_asked(requests):
    switch = opened(percent=10)
    for _ in range(5000):
        requests.run(lambda _: call(switch))
    found, _ = units(switch.report())
    assert found["old"] + found["new"] == 5000
    assert 400 < found["new"] < 600  # 500 expected, with a deviation of 21


@pytest.mark.parametrize(("percent", "arms"), [(0, {False}), (100, {True})])
def test_none_and_all_are_exact(requests, percent, arms):
    switch = opened(percent=percent)
    assert {requests.run(lambda _: call(switch)) for _ in range(500)} == arms


def test_failed_means_of_a_request_what_traffic_means_by_it(requests):
    switch = opened(percent=100)

    def failing(_):
        call(switch)
        raise LookupError("x")

    with pytest.raises(LookupError):
        requests.run(failing)
    requests.run(lambda _: call(switch), status=503)
    requests.run(lambda _: call(switch), status=404)
    assert units(switch.report()) == ({"old": 0, "new": 3}, {("new", "LookupError"): 1, ("new", "503"): 1})


def test_a_user_stays_on_one_arm_and_who_was_on_the_new_stays_there_when_the_share_grows(requests):
    switch = opened(percent=10, key=parse_key("query:u"))

    def arms():
        found = {}
        for number in range(300):
            for _ in range(2):
                arm = requests.run(lambda _: call(switch), source={"QUERY_STRING": f"u={number}"})
                assert found.setdefault(number, arm) == arm
        return {number for number, arm in found.items() if arm}

    ten = arms()
    switch.renew(lease_s=60, percent=50)
    fifty = arms()
    switch.renew(lease_s=60, percent=10)
    assert arms() == ten
    assert ten < fifty
    assert (10 < len(ten) < 60, 110 < len(fifty) < 190) == (True, True)


def test_with_a_key_a_user_is_counted_once_and_fails_once(requests):
    switch = opened(percent=100, key=parse_key("query:u"))

    def ask(user, status=200):
        requests.run(lambda _: call(switch), source={"QUERY_STRING": f"u={user}"}, status=status)

    for _ in range(3):
        ask("anna")
    ask("bert", 500)
    ask("bert", 500)
    first = switch.report().arms[True]
    assert (first.units, first.failures, sum(first.buckets.values()), first.at_risk) == (2, {"500": 1}, 2, 2)
    ask("anna", 503)
    ask("carl")
    second = switch.report().arms[True]
    assert (second.units, second.failures, second.at_risk) == (1, {"503": 1}, 2)
    assert (switch.report().arms[True].at_risk, switch.report().arms[False].at_risk) == (1, 0)


def test_without_a_key_nobody_is_told_apart(requests):
    switch = opened()
    assert {arm.at_risk for arm in switch.report().arms.values()} == {None}


def test_a_user_who_comes_to_the_other_arm_when_the_share_grows_is_new_there(requests):
    switch = opened(percent=0, key=parse_key("query:u"))
    for percent, expected in ((0, ((1, 1), (0, 0))), (100, ((0, 1), (1, 1))), (100, ((0, 0), (0, 1)))):
        switch.renew(lease_s=60, percent=percent)
        requests.run(lambda _: call(switch), source={"QUERY_STRING": "u=1"})
        arms = switch.report().arms
        assert tuple((arms[new].units, arms[new].at_risk) for new in (False, True)) == expected


def test_a_request_without_the_key_draws_its_arm(requests):
    switch = opened(key=parse_key("header:x-user"), draw=taking_turns(0.1, 0.9))
    assert [requests.run(lambda _: call(switch)) for _ in range(4)] == [True, False, True, False]


def test_a_request_that_began_before_the_canary_runs_the_old_code_and_is_not_counted(requests):
    switch = Switch("c1", terms(percent=100), clock_s=Clock())

    def across(_):
        before = call(switch)
        switch.open()
        return before, call(switch), call(switch)

    assert requests.run(across) == (False, False, False)
    assert sum(units(switch.report())[0].values()) == 0
    assert requests.run(lambda _: call(switch)) is True


def test_a_new_share_leaves_requests_under_way_where_they_are(requests):
    switch = opened(percent=100)

    def across(_):
        before = call(switch)
        switch.renew(lease_s=60, percent=0)
        return before, call(switch)

    assert requests.run(across) == (True, True)
    assert requests.run(lambda _: call(switch)) is False


def test_threads_of_one_request_that_come_at_once_get_one_arm(requests):
    switch = opened()
    for _ in range(30):
        barrier = threading.Barrier(4)

        def work(_, barrier=barrier):
            found = []

            def go():
                barrier.wait(20)
                found.append(call(switch))

            contexts = [contextvars.copy_context() for _ in range(4)]
            threads = [threading.Thread(target=context.run, args=(go,)) for context in contexts]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            return found

        assert len(set(requests.run(work))) == 1
    assert sum(units(switch.report())[0].values()) == 30


def test_a_task_that_outlives_its_request_keeps_the_arm(requests):
    switch = opened()

    async def later():
        return call(switch)

    def work(_):
        return call(switch), contextvars.copy_context()

    for _ in range(30):
        arm, context = requests.run(work)
        assert context.run(asyncio.run, later()) == arm


def test_a_thread_that_has_served_a_request_and_does_other_things_draws_for_these(requests):
    switch = opened(draw=taking_turns(0.1, 0.9, 0.9))
    arm, context = requests.run(lambda _: (call(switch), contextvars.copy_context()))
    assert (arm, context.run(call, switch), context.run(call, switch)) == (True, False, False)
    assert units(switch.report())[0] == {"old": 2, "new": 1}


def test_two_canaries_draw_for_themselves_and_count_for_themselves(requests):
    one, two = opened(change="one"), opened(change="two", draw=random.Random(8).random)
    seen = {requests.run(lambda _: (call(one), call(two), call(one), call(two))) for _ in range(100)}
    assert seen == {(a, b, a, b) for a in (True, False) for b in (True, False)}
    for switch in (one, two):
        assert sum(units(switch.report())[0].values()) == 100


def test_outside_of_requests_each_outermost_call_is_a_unit_and_the_calls_in_it_are_on_its_arm():
    switch = opened(draw=taking_turns(0.1, 0.9))

    def outermost():
        unit = switch.pick()
        inner = [call(switch) for _ in range(3)]
        unit.finish(None)
        return [unit.new, *inner]

    assert [outermost() for _ in range(2)] == [[True] * 4, [False] * 4]
    assert units(switch.report()) == ({"old": 1, "new": 1}, {})


def test_an_outermost_call_that_raises_is_a_failure_and_one_that_is_interrupted_is_none():
    switch = opened(percent=100)
    for error in (KeyError("x"), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()):
        call(switch, error)
    assert units(switch.report()) == ({"old": 0, "new": 4}, {("new", "KeyError"): 1})


def test_each_task_is_a_unit_that_ends_with_it():
    switch = opened(draw=taking_turns(0.1, 0.9))

    async def job():
        arms = {call(switch)}
        await asyncio.sleep(0)
        arms |= {call(switch), await asyncio.to_thread(call, switch)}
        assert len(arms) == 1
        return arms.pop(), units(switch.report())[0]

    async def main():
        return [await asyncio.create_task(job()) for _ in range(2)]

    (first, before), (second, between) = asyncio.run(main())
    assert (first, second) == (True, False)
    assert before == {"old": 0, "new": 0}, "a task that goes on is not counted"
    assert between == {"old": 0, "new": 1}


def test_tasks_end_counted_with_their_failure_and_a_cancelled_one_without():
    switch = opened(percent=100)

    async def job(error=None):
        call(switch)
        if error is not None:
            raise error
        await asyncio.sleep(60)

    async def main():
        failing, cancelled = asyncio.create_task(job(ValueError("x"))), asyncio.create_task(job())
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(failing, cancelled, return_exceptions=True)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert units(switch.report()) == ({"old": 0, "new": 2}, {("new", "ValueError"): 1})


def test_an_exception_that_nobody_fetched_from_a_task_is_still_told_by_asyncio():
    switch, told = opened(percent=100), []

    async def job():
        call(switch)
        raise ValueError("lost")

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        task = asyncio.create_task(job())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert task.done()

    asyncio.run(main())
    assert [str(error) for error in told] == ["lost"]


def test_a_task_of_the_hosts_own_kind_that_takes_no_callback_runs_the_old_code():
    class Odd(asyncio.Task):
        def add_done_callback(self, *_, **__):
            raise RuntimeError("no")

    switch = opened(percent=100)

    async def main():
        return [call(switch), call(switch)]

    loop = asyncio.new_event_loop()
    try:
        task = Odd(main(), loop=loop)
        while not task.done():
            loop.call_soon(loop.stop)
            loop.run_forever()
        assert task.result() == [False, False]
    finally:
        loop.close()


def test_child_tasks_outside_of_requests_are_units_of_their_own():
    switch = opened(percent=100)

    async def main():
        call(switch)
        await asyncio.gather(*(asyncio.create_task(child()) for _ in range(3)))
        await asyncio.sleep(0)
        return units(switch.report())[0]

    async def child():
        return call(switch)

    assert asyncio.run(main()) == {"old": 0, "new": 3}


def test_all_tasks_of_a_request_are_on_its_arm(requests):
    switch = opened()

    async def main():
        return await asyncio.gather(*(asyncio.create_task(child()) for _ in range(5)))

    async def child():
        await asyncio.sleep(0)
        return call(switch)

    for _ in range(20):
        assert len(set(requests.run(lambda _: asyncio.run(main())))) == 1


def test_when_the_lease_runs_out_every_call_goes_to_the_old_code_and_it_cannot_be_renewed(requests, clock):
    switch = opened(clock, percent=100, lease_s=10)

    def across(_):
        first = call(switch)
        clock.pass_s(9.9)
        second = call(switch)
        clock.pass_s(0.1)
        return first, second, call(switch)

    assert requests.run(across) == (True, True, False)
    assert (switch.lapsed, switch.running, call(switch), requests.run(lambda _: call(switch))) == (
        True,
        False,
        False,
        False,
    )
    switch.renew(lease_s=60, percent=100)
    assert call(switch) is False
    assert switch.report().percent == 0


def test_a_lease_that_is_renewed_in_time_goes_on(requests, clock):
    switch = opened(clock, percent=100, lease_s=10)
    for _ in range(5):
        clock.pass_s(9)
        switch.renew(lease_s=10, percent=100)
    assert requests.run(lambda _: call(switch)) is True


@pytest.mark.parametrize("new", [True, False])
def test_once_it_is_over_all_calls_are_on_one_arm_whatever_they_began_with(requests, new):
    switch = opened()

    def across(_):
        before = call(switch)
        return before, contextvars.copy_context()

    contexts = [requests.run(across) for _ in range(20)]
    last = switch.end(new=new)
    assert sum(units(last)[0].values()) == 20
    assert {context.run(call, switch) for _, context in contexts} == {new}
    assert {requests.run(lambda _: call(switch)), call(switch)} == {new}
    assert sum(units(switch.report())[0].values()) == 0


def test_a_forked_child_counts_for_itself_and_keeps_share_and_lease(requests):
    switch = opened(percent=100)
    call(switch)
    pid = os.fork()
    if pid == 0:
        try:
            switch.become_forked_child()
            nothing = units(switch.report())[0]
            arm = requests.run(lambda _: call(switch))
            os._exit(0 if (nothing, arm, units(switch.report())[0]["new"]) == ({"old": 0, "new": 0}, True, 1) else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert units(switch.report())[0] == {"old": 0, "new": 1}


def test_children_draw_other_numbers_than_their_parent():
    switch = Switch("c", terms())
    switch.open()
    state = switch._random.getstate()
    switch.become_forked_child()
    assert switch._random.getstate() != state
