"""Canaries begin, grow, are promoted and given back under load: no call fails, and each request is on one arm."""

import asyncio
import random
import sys
import threading
import time

from canary_scene import Requests, terms, units
from reload_host import on_host
from small_process import run_in_small_process

FRONT = """
from {package} import middle
def handle(depth):
    return ["old", *middle.work(depth)]
async def serve(depth):
    first = "old"
    return [first, *(await middle.later(depth)), *[item async for item in middle.stream()]]
"""
MIDDLE = """
import asyncio
from {package} import back
class Work:
    def __init__(self, depth):
        self.depth = depth
    @property
    def word(self):
        return "old"
    def run(self):
        more = Work(self.depth - 1).run() if self.depth else []
        return [self.word, back.name(len(more)), *back.make()(), *back.numbers(), *more]
def work(depth):
    return Work(depth).run()
async def later(depth):
    await asyncio.sleep(0)
    return ["old", back.name(0)] + (await later(depth - 1) if depth else [])
async def stream():
    for _ in range(3):
        await asyncio.sleep(0)
        yield "old"
"""
BACK = """
def name(length):
    return "old"
def make():
    held = 1
    def inner():
        return [name(held), "old"]
    return inner
def numbers():
    yield "old"
    yield name(1)
"""


def load(host):
    """Load three modules that call each other, and return the first and the change of all."""
    sources = {
        name: text.replace("{package}", host.package)
        for name, text in (("back", BACK), ("middle", MIDDLE), ("front", FRONT))
    }
    modules = {name: host.load(name, source) for name, source in sources.items()}
    parts = [host.change(name, source, source.replace('"old"', '"new"')).modules[0] for name, source in sources.items()]
    change = host.change("front", "", "")
    return modules["front"], type(change)("c", tuple(parts), "safe")


class Ends:
    """Notes when functions are exchanged: a request that saw none of it is of one arm."""

    def __init__(self, reloader, change):
        self._reloader, self._change = reloader, change
        self.number = 0
        """Even while nothing is exchanged."""

    def passed(self, before):
        """Tell whether something was exchanged since this number was read."""
        return before % 2 == 1 or before != self.number

    def __call__(self, act):
        self.number += 1
        assert act().outcome == "swapped"
        self.number += 1

    def storm(self, draw, rounds):
        """Go through the lives of canaries."""
        reloader, change = self._reloader, self._change
        for turn in range(rounds):
            self(lambda: reloader.canary(change, terms(draw.choice([10, 50, 90]))))
            for _ in range(6):
                time.sleep(0.002)
                assert reloader.renew("c", lease_s=60, percent=draw.choice([0, 10, 50, 100])).outcome == "swapped"
            if turn % 2:
                self(lambda: reloader.promote("c"))
                time.sleep(0.002)
            self(lambda: reloader.rollback("c"))


def test_threads_see_one_arm_a_request_through_everything(tmp_path):
    run_in_small_process(storm_over_threads, tmp_path)


@on_host
def storm_over_threads(host):
    front, change = load(host)
    requests, ends = Requests(), Ends(host.reloader, change)
    failures, seen, stop = [], [set() for _ in range(4)], threading.Event()

    def work(_):
        before = ends.number
        words = front.handle(2)
        return set(words), not ends.passed(before)

    def hammer(index):
        try:
            while not stop.wait(0.0005):
                words, undisturbed = requests.run(work)
                assert words <= {"old", "new"}
                assert len(words) == 1 or not undisturbed, words
                seen[index] |= words
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=hammer, args=(index,)) for index in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    for thread in threads:
        thread.start()
    try:
        ends.storm(random.Random(5), 12)
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
        sys.setswitchinterval(interval)
    assert failures == []
    assert seen == [{"old", "new"}] * 4
    assert front.handle(1) == ["old"] * len(front.handle(1))


def test_tasks_see_one_arm_a_request_through_everything(tmp_path):
    run_in_small_process(storm_over_tasks, tmp_path)


@on_host
def storm_over_tasks(host):
    front, change = load(host)
    requests, ends = Requests(), Ends(host.reloader, change)
    seen, over = set(), False

    async def request():
        begun = requests.traffic.begin({}, lambda *_: "/")
        before = ends.number
        several = await asyncio.gather(front.serve(2), front.serve(1), asyncio.to_thread(front.handle, 1))
        words = {word for found in several for word in found}
        requests.traffic.finish(begun, None, where="asgi")
        assert words <= {"old", "new"}
        assert len(words) == 1 or ends.passed(before), words
        seen.update(words)

    async def client():
        while not over:
            await asyncio.create_task(request())

    async def main():
        nonlocal over
        clients = [asyncio.create_task(client()) for _ in range(6)]
        try:
            await asyncio.to_thread(ends.storm, random.Random(6), 8)
        finally:
            over = True
        await asyncio.gather(*clients)

    asyncio.run(main())
    assert seen == {"old", "new"}


def test_every_request_is_counted_on_its_arm_while_the_share_changes(tmp_path):
    run_in_small_process(count_under_load, tmp_path)


@on_host
def count_under_load(host):
    front, change = load(host)
    requests = Requests()
    assert host.reloader.canary(change, terms(50)).outcome == "swapped"
    done = [[] for _ in range(4)]

    def hammer(index):
        for number in range(300):
            done[index].append(requests.run(lambda _: front.handle(0))[0])
            if number % 50 == 0:
                host.reloader.renew("c", lease_s=60, percent=number / 3)

    threads = [threading.Thread(target=hammer, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (report,) = host.reloader.take_reports()
    words = [word for found in done for word in found]
    assert len(words) == 1200
    assert units(report)[0] == {"old": words.count("old"), "new": words.count("new")}
