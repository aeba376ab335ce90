"""What flows may count on of `LiveProcesses`: the same suite on the fake, and on the gateway with a real agent.

The real side is a host program in its own interpreter, started as `homeostat run` starts one.
"""

import functools
import os
import signal
import sys
from datetime import UTC, datetime

import pytest
from agents_harness import Place, clean_environment, connected, host, wait_for

from homeostat.core.ids import ProcessId
from homeostat.model.canary import Share
from homeostat.model.process import HostProcess, LiveOutcome, RunningSource
from homeostat.ports.live import LiveChange, LiveProcesses, ModuleChange
from homeostat.testing.fake_live import FakeLive

OLD = "def price(amount):\n    return amount * 2\n"
NEW = "def price(amount):\n    return amount * 3\n"
NEWER = "def price(amount):\n    return amount * 4\n"
TIMEOUT_S = 10.0
STRANGER = ProcessId("00000000-0000-4000-8000-000000000000")


def change(name="c1", old=OLD, new=NEW):
    return LiveChange(id=name, modules=(ModuleChange(path="prices.py", old_source=old, new_source=new),), mode="safe")


class FakeWorld:
    """One fake process that has loaded `prices.py`."""

    def __init__(self, hmr, imported, source):
        self.live = FakeLive()
        self._disk = source
        self.id = ProcessId("0b9c7b4e-6f2a-4c0f-8e1d-2a4f3c5d6e7f")
        self._shown = HostProcess(
            id=self.id,
            pid=4711,
            started_at=datetime(2026, 1, 1, tzinfo=UTC),
            python="3.12.0",
            command="app.py",
            commit=None,
            hmr_enabled=hmr,
            generation=0,
            changes=(),
            connected=True,
        )
        self.live.attach(self._shown, loaded={"prices.py": source} if imported else {})

    def write(self, source):
        self._disk = source

    def price(self):
        if not self.live.sources(self.id):
            self.live.load(self.id, "prices.py", self._disk)
        names = {}
        exec(self.live.source(self.id, "prices.py"), names)
        return names["price"](10)

    def lose(self):
        self.live.lose(self.id)

    def restart_hub(self):
        self.live.restart_hub()
        self.live.reconnect(self.id)

    def end(self):
        self.live.end(self.id)


class RealWorld:
    """One real program with the agent in it, that says what `price(10)` is in it, and may import it for that."""

    def __init__(self, gateway, program, shown, next_gateway, write):
        self.live = gateway
        self.write = write
        self.id = shown.id
        self._program = program
        self._next_gateway = next_gateway

    def price(self):
        self._program.stdin.write("10\n")
        self._program.stdin.flush()
        return int(self._program.stdout.readline())

    def end(self):
        os.kill(self._program.pid, signal.SIGKILL)
        self._program.wait()

    def lose(self):
        os.kill(self._program.pid, signal.SIGSTOP)  # else it would dial again at once
        self.live._roster.find(self.id)[1].shut()
        wait_for(lambda: not any(item.connected for item in self.live.processes()))

    def restart_hub(self):
        self.live.close()
        self.live = self._next_gateway()
        connected(self.live)


@pytest.fixture(params=["fake", "real"])
def make_world(request, tmp_path):
    closers = []

    def make(*, hmr=True, imported=True, source=OLD):
        if request.param == "fake":
            return FakeWorld(hmr, imported, source)
        place = Place(tmp_path)
        place.write("prices.py", source)
        at_start, on_request = ("import prices\n", "") if imported else ("", "    import prices\n")
        place.write(
            "app.py",
            f"import sys\n{at_start}for line in sys.stdin:\n{on_request}"
            "    print(prices.price(int(line)), flush=True)\n",
        )

        def next_gateway():
            hub = place.hub()
            closers.append(hub)
            return hub.__enter__()

        gateway = next_gateway()
        environment = place.launch(hmr=hmr).environment(clean_environment())
        program = host(sys.executable, "app.py", env=environment, cwd=place.repository)
        closers.append(program)
        process = program.__enter__()
        (shown,) = connected(gateway)
        return RealWorld(gateway, process, shown, next_gateway, functools.partial(place.write, "prices.py"))

    yield make
    for item in reversed(closers):
        item.__exit__(None, None, None)


@pytest.fixture
def world(make_world):
    return make_world()


def shown(world):
    (process,) = world.live.processes()
    return process


def test_it_is_the_port(world):
    port: LiveProcesses = world.live
    assert port.processes()[0].id == world.id


def test_a_fresh_process_is_connected_at_generation_zero_with_nothing_in_force(world):
    process = shown(world)
    assert (process.connected, process.generation, process.changes) == (True, 0, ())


def test_prepare_says_that_it_could_be_done_and_changes_nothing(world):
    result = world.live.prepare(world.id, change(), timeout_s=TIMEOUT_S)
    assert result.outcome is LiveOutcome.SWAPPED, result.detail
    assert world.price() == 20
    assert shown(world).generation == 0


def test_swap_changes_what_runs_and_the_list_shows_it_at_once(world):
    result = world.live.swap(world.id, change(), timeout_s=TIMEOUT_S)
    process = shown(world)
    assert result.outcome is LiveOutcome.SWAPPED, result.detail
    assert result.process_id == world.id
    assert result.swap_us is not None
    assert result.functions
    assert world.price() == 30
    assert (process.generation, process.changes) == (1, ("c1",))


def test_the_same_change_again_is_answered_as_the_first_time(world):
    world.live.swap(world.id, change(), timeout_s=TIMEOUT_S)
    again = world.live.swap(world.id, change(), timeout_s=TIMEOUT_S)
    assert again.outcome is LiveOutcome.SWAPPED
    assert (shown(world).generation, shown(world).changes) == (1, ("c1",))


def test_rollback_puts_back_what_ran_before(world):
    world.live.swap(world.id, change(), timeout_s=TIMEOUT_S)
    result = world.live.rollback(world.id, "c1", timeout_s=TIMEOUT_S)
    assert result.outcome is LiveOutcome.SWAPPED, result.detail
    assert world.price() == 20
    assert (shown(world).generation, shown(world).changes) == (2, ())


def test_rollback_of_a_change_that_is_not_in_force_is_done_already(world):
    assert world.live.rollback(world.id, "c1", timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
    assert shown(world).generation == 0


def test_a_second_change_builds_on_the_first_and_is_listed_after_it(world):
    world.live.swap(world.id, change(), timeout_s=TIMEOUT_S)
    result = world.live.swap(world.id, change("c2", NEW, NEWER), timeout_s=TIMEOUT_S)
    assert result.outcome is LiveOutcome.SWAPPED, result.detail
    assert world.price() == 40
    assert shown(world).changes == ("c1", "c2")


@pytest.mark.parametrize("command", ["prepare", "swap"])
def test_a_change_of_other_source_than_what_runs_is_not_made(world, command):
    result = getattr(world.live, command)(world.id, change(old=NEWER), timeout_s=TIMEOUT_S)
    assert result.outcome in (LiveOutcome.FAILED, LiveOutcome.RESTART_REQUIRED)
    assert result.detail
    assert world.price() == 20
    assert shown(world).changes == ()


@pytest.mark.parametrize("command", ["prepare", "swap"])
def test_a_change_of_what_a_module_does_when_it_is_loaded_requires_a_restart(world, command):
    new = "RATE = print('loaded')\n\n\n" + NEW
    result = getattr(world.live, command)(world.id, change(new=new), timeout_s=TIMEOUT_S)
    assert result.outcome is LiveOutcome.RESTART_REQUIRED
    assert world.price() == 20
    assert shown(world).changes == ()


@pytest.mark.parametrize("command", ["prepare", "swap"])
def test_where_hot_reload_is_off_a_restart_is_required(make_world, command):
    world = make_world(hmr=False)
    assert shown(world).hmr_enabled is False
    result = getattr(world.live, command)(world.id, change(), timeout_s=TIMEOUT_S)
    assert result.outcome is LiveOutcome.RESTART_REQUIRED
    assert "disabled" in result.detail
    assert world.price() == 20


def test_a_process_that_nobody_knows_is_unreachable(world):
    for result in (
        world.live.prepare(STRANGER, change(), timeout_s=TIMEOUT_S),
        world.live.swap(STRANGER, change(), timeout_s=TIMEOUT_S),
        world.live.rollback(STRANGER, "c1", timeout_s=TIMEOUT_S),
    ):
        assert result.outcome is LiveOutcome.UNREACHABLE
        assert result.process_id == STRANGER


def test_a_process_that_is_known_to_have_ended_is_gone_at_once(world):
    world.end()
    wait_for(lambda: not world.live.processes(), timeout_s=TIMEOUT_S)
    assert world.live.wait_until_connected([world.id], timeout_s=0)


def test_a_process_whose_connection_is_lost_stays_listed_as_not_connected_and_is_unreachable(world):
    world.lose()
    process = shown(world)
    assert (process.id, process.connected) == (world.id, False)
    assert world.live.swap(world.id, change(), timeout_s=TIMEOUT_S).outcome is LiveOutcome.UNREACHABLE


def test_a_hub_that_starts_later_finds_a_process_with_what_is_in_force_in_it(world):
    world.live.swap(world.id, change(), timeout_s=TIMEOUT_S)
    world.restart_hub()
    assert world.live.wait_until_connected([world.id], timeout_s=TIMEOUT_S)
    assert (shown(world).id, shown(world).generation, shown(world).changes) == (world.id, 1, ("c1",))
    assert world.live.rollback(world.id, "c1", timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
    assert world.price() == 20


def test_waiting_for_a_connected_process_ends_at_once_and_for_a_lost_one_in_time(world):
    assert world.live.wait_until_connected([world.id], timeout_s=TIMEOUT_S)
    assert world.live.wait_until_connected([], timeout_s=0)
    world.lose()
    assert not world.live.wait_until_connected([world.id], timeout_s=0.05)
    assert not world.live.wait_until_connected([STRANGER], timeout_s=0.05)


def test_everyone_who_was_there_before_has_come_a_few_seconds_after_the_start(world):
    assert world.live.wait_until_gathered(timeout_s=TIMEOUT_S)
    assert world.live.wait_until_gathered(timeout_s=0)


def runs(world, asked):
    return world.live.prepare(world.id, asked, timeout_s=TIMEOUT_S).runs


def test_a_prepare_says_which_of_the_two_sources_runs_by_whatever_way_it_came_there(world):
    assert runs(world, change()) is RunningSource.OLD
    assert runs(world, change("back", NEW, OLD)) is RunningSource.NEW
    world.live.swap(world.id, change(), timeout_s=TIMEOUT_S)
    assert runs(world, change()) is RunningSource.NEW
    assert runs(world, change("again")) is RunningSource.NEW
    assert runs(world, change("back", NEW, OLD)) is RunningSource.OLD
    assert runs(world, change("c2", NEWER, NEWER + "\n\n" + OLD)) is RunningSource.OTHER
    world.live.rollback(world.id, "c1", timeout_s=TIMEOUT_S)
    assert runs(world, change("again")) is RunningSource.OLD


def test_a_prepare_that_needs_a_restart_says_all_the_same_which_source_runs(world):
    needs_restart = change(new="RATE = print('loaded')\n\n\n" + NEW)
    assert runs(world, needs_restart) is RunningSource.OLD


def test_a_swap_to_what_runs_already_exchanges_nothing_and_is_done(world):
    result = world.live.swap(world.id, change("back", NEW, OLD), timeout_s=TIMEOUT_S)
    assert (result.outcome, result.functions, world.price()) == (LiveOutcome.SWAPPED, (), 20)


def test_what_is_imported_under_a_change_in_force_is_exchanged_when_it_is_asked_again(make_world):
    world = make_world(imported=False)
    back = change("c1:revert", NEW, OLD)
    assert runs(world, change()) is RunningSource.NOT_LOADED
    assert world.live.swap(world.id, back, timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
    world.write(NEW)
    assert world.price() == 30
    assert runs(world, change()) is RunningSource.NEW
    assert runs(world, back) is RunningSource.OLD
    result = world.live.swap(world.id, back, timeout_s=TIMEOUT_S)
    assert (result.outcome, world.price()) == (LiveOutcome.SWAPPED, 20), result.detail
    assert runs(world, change()) is RunningSource.OLD


def test_what_is_imported_under_a_change_in_force_is_taken_back_with_it(make_world):
    world = make_world(imported=False)
    world.live.swap(world.id, change(), timeout_s=TIMEOUT_S)
    world.write(NEW)
    assert world.price() == 30
    assert world.live.rollback(world.id, "c1", timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
    assert world.price() == 20


# A share of the calls.


def results(world, calls=200):
    """Return what so many calls of price(10) gave; the fake runs none, and says its share instead."""
    if isinstance(world, FakeWorld):
        return {20} | ({30} if world.live.share(world.id, "c1") else set())
    return {world.price() for _ in range(calls)}


SHARE = Share(percent=50, lease_s=60.0)


def test_a_share_of_the_calls_runs_the_new_code_until_all_do(world):
    begun = world.live.swap(world.id, change(), share=SHARE, timeout_s=TIMEOUT_S)
    assert begun.outcome is LiveOutcome.SWAPPED
    assert shown(world).changes == ("c1",)
    assert results(world) == {20, 30}
    again = world.live.swap(world.id, change(), share=Share(percent=90, lease_s=60.0), timeout_s=TIMEOUT_S)
    assert again.outcome is LiveOutcome.SWAPPED
    assert shown(world).changes == ("c1",)
    assert world.live.swap(world.id, change(), timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
    assert world.price() == 30
    assert shown(world).changes == ("c1",)


def test_a_share_is_taken_back_as_a_swap_is(world):
    world.live.swap(world.id, change(), share=SHARE, timeout_s=TIMEOUT_S)
    assert world.live.rollback(world.id, "c1", timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
    assert results(world) == {20}
    assert shown(world).changes == ()
    assert world.live.swap(world.id, change(), share=SHARE, timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED


def test_a_share_whose_lease_ended_unseen_is_begun_anew(world):
    world.live.swap(world.id, change(), share=Share(percent=50, lease_s=0.3), timeout_s=TIMEOUT_S)
    if isinstance(world, FakeWorld):
        world.live.end_leases(world.id)
    else:
        wait_for(lambda: results(world, calls=20) == {20})
    assert world.live.swap(world.id, change(), share=SHARE, timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
    assert results(world) == {20, 30}


def test_a_share_of_other_code_than_runs_is_refused(world):
    refused = world.live.swap(world.id, change(old=NEWER), share=SHARE, timeout_s=TIMEOUT_S)
    assert refused.outcome is LiveOutcome.FAILED
    assert results(world) == {20}


def test_where_a_share_runs_a_prepare_says_so_and_another_change_of_the_same_files_is_refused(world):
    world.live.swap(world.id, change(), share=SHARE, timeout_s=TIMEOUT_S)
    assert runs(world, change("again")) is RunningSource.CANARY
    for share in (None, SHARE):
        other = world.live.swap(world.id, change("c2", OLD, NEWER), share=share, timeout_s=TIMEOUT_S)
        assert other.outcome is LiveOutcome.FAILED
        assert "c1" in other.detail
    assert shown(world).changes == ("c1",)
    assert results(world) == {20, 30}


CACHED = "from functools import lru_cache\n\n\n@lru_cache(maxsize=None)\n" + OLD


def test_a_function_behind_a_cache_is_not_routable_and_can_be_swapped_for_all_calls(make_world):
    """What the arms found would be kept, and each would get the other's."""
    world = make_world(source=CACHED)
    asked = change(old=CACHED, new=CACHED.replace("* 2", "* 3"))
    refused = world.live.swap(world.id, asked, share=SHARE, timeout_s=TIMEOUT_S)
    assert refused.outcome is LiveOutcome.NOT_ROUTABLE
    assert "cache" in refused.detail
    assert (shown(world).generation, shown(world).changes, world.price()) == (0, (), 20)
    assert world.live.swap(world.id, asked, timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
    assert world.price() == 30


# EditedProcesses


def test_a_process_names_the_files_of_the_repository_that_it_has_loaded(world):
    told = world.live.loaded(world.id, timeout_s=TIMEOUT_S)
    assert "prices.py" in told.files and told.parent is None
    assert not [path for path in told.files if path.startswith(("/", "..")) or "site-packages" in path]


def test_what_was_not_imported_is_not_named(make_world):
    world = make_world(imported=False)
    assert "prices.py" not in world.live.loaded(world.id, timeout_s=TIMEOUT_S).files


def test_a_process_that_is_not_there_names_nothing(world):
    assert world.live.loaded(STRANGER, timeout_s=0.1) is None
    assert not world.live.settle(STRANGER, "c1", timeout_s=0.1)


def test_a_settled_change_stands_and_is_in_force_no_more(world):
    assert world.live.swap(world.id, change(), timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
    assert world.live.settle(world.id, "c1", timeout_s=TIMEOUT_S)
    assert world.live.processes()[0].changes == ()
    assert world.live.rollback(world.id, "c1", timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
    assert world.price() == 30
    assert world.live.settle(world.id, "c1", timeout_s=TIMEOUT_S)  # once more is as once
    back = world.live.swap(world.id, change("c2", NEW, OLD), timeout_s=TIMEOUT_S)
    assert (back.outcome, world.price()) == (LiveOutcome.SWAPPED, 20)


def test_what_a_settled_change_was_made_upon_cannot_be_taken_back_in_part(world):
    world.live.swap(world.id, change(), timeout_s=TIMEOUT_S)
    world.live.swap(world.id, change("c2", NEW, NEWER), timeout_s=TIMEOUT_S)
    assert world.live.settle(world.id, "c2", timeout_s=TIMEOUT_S)
    assert world.live.rollback(world.id, "c1", timeout_s=TIMEOUT_S).outcome is LiveOutcome.RESTART_REQUIRED
    assert world.price() == 40
    assert world.live.processes()[0].changes == ("c1",)


def test_what_a_settled_change_was_made_upon_is_taken_back_when_it_is_what_runs(world):
    world.live.swap(world.id, change(), timeout_s=TIMEOUT_S)
    for name, old, new in (("c2", NEW, NEWER), ("c3", NEWER, NEW)):  # edited, and the edit undone
        assert world.live.swap(world.id, change(name, old, new), timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
        assert world.live.settle(world.id, name, timeout_s=TIMEOUT_S)
    assert world.live.swap(world.id, change(), timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED  # in force still
    assert world.live.rollback(world.id, "c1", timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
    assert (world.price(), world.live.processes()[0].changes) == (20, ())
    assert world.live.swap(world.id, change(), timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
    assert world.price() == 30


def test_a_canary_is_not_settled(world):
    share = Share(percent=50, lease_s=30, key="")
    assert world.live.swap(world.id, change(), share=share, timeout_s=TIMEOUT_S).outcome is LiveOutcome.SWAPPED
    assert not world.live.settle(world.id, "c1", timeout_s=TIMEOUT_S)
    assert world.live.processes()[0].changes == ("c1",)
