"""The gateway as agents and strangers find it: real sockets, real programs, and peers that misbehave."""

import os
import signal
import sys
import textwrap
import threading
from contextlib import closing, suppress
from pathlib import Path

import agents_harness
import pytest
from agent_by_hand import CHANGE, LAUNCH, PROCESS, agent, answer, ended, in_background, soon, stranger
from agents_harness import SOURCES, Place, SystemClock, clean_environment, connected, host, records, wait_for
from homeostat_agent.protocol import ProtocolError, frame

from homeostat.adapters.agents import gateway as gateway_module
from homeostat.core.errors import Conflict, Unavailable
from homeostat.core.ids import ProcessId
from homeostat.model.process import LiveOutcome
from homeostat.ports.live import LiveChange, ModuleChange


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_what_an_agent_says_of_its_process_is_what_is_listed(place):
    with place.hub() as gateway, agent(place):
        (process,) = connected(gateway)
        assert (process.id, process.pid, process.command, process.python) == (PROCESS, 4711, "app.py", "3.12.1")
        assert process.started_at.isoformat() == "2023-11-14T22:13:20+00:00"
        assert process.commit == "a" * 40
        assert gateway.launch_ids() == {LAUNCH}


@pytest.mark.parametrize(
    "facts",
    [
        {"pid": -1},
        {"pid": True},
        {"pid": 2**60},
        {"started_ms": "now"},
        {"started_ms": 2**52},
        {"python": "x" * 201},
        {"command": None},
        {"generation": 1.0},
        {"changes": "c1"},
        {"changes": [1]},
        {"changes": ["c"] * 1001},
        {"changes": ["half \ud800"]},
        {"changes": ["c\n1"]},
    ],
)
def test_facts_that_make_no_sense_end_the_connection(place, facts):
    with place.hub() as gateway:
        with pytest.raises(ProtocolError), agent(place, **facts):
            pass
        ended(gateway, "malformed")
        assert gateway.processes() == []


def test_control_characters_of_a_program_name_do_not_reach_a_terminal(place):
    with place.hub() as gateway, agent(place, command="a\x1b[2Jb"):
        assert connected(gateway)[0].command == "a?[2Jb"


def test_an_agent_with_another_key_is_not_let_in(place):
    with place.hub() as gateway:
        with pytest.raises(ProtocolError, match="bad-proof"), agent(place, key=os.urandom(32)):
            pass
        assert gateway.processes() == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "too-large"),
        (frame(b"{}"), "unexpected-type"),
        (frame(b"\xff"), "malformed"),
        (b"\0\0\0\x09abc", "truncated"),
        (b"", "closed"),
    ],
)
def test_a_strangers_bytes_end_its_connection_with_a_named_reason(place, data, reason):
    with place.hub() as gateway:
        with stranger(place) as there:
            there.sendall(data)
        ended(gateway, reason)
        with agent(place):
            connected(gateway)


def test_a_stranger_that_says_nothing_is_sent_away_in_time_and_blocks_nobody(place, monkeypatch):
    monkeypatch.setattr("homeostat.adapters.agents.session.HANDSHAKE_S", 0.3)
    with place.hub() as gateway, stranger(place) as silent, stranger(place) as dripping:
        dripping.sendall(b"\0\0\0")
        with agent(place):
            connected(gateway)
        assert silent.recv(1) == b""
        ended(gateway, "timeout", 2)


def test_more_strangers_than_are_allowed_are_turned_away_at_once(place, monkeypatch):
    monkeypatch.setattr(gateway_module, "MAX_STRANGERS", 2)
    with place.hub() as gateway, stranger(place), stranger(place), stranger(place) as third:
        assert third.recv(1) == b""
        ended(gateway, "too-many")


def test_a_frame_cut_off_in_the_middle_ends_the_connection_of_an_agent_too(place):
    with place.hub() as gateway:
        with agent(place) as there:
            connected(gateway)
            there._stream.send(b"\0\0\0\x09abc", deadline_s=soon())
        ended(gateway, "truncated")


def test_a_repeated_frame_of_an_agent_ends_its_connection(place):
    with place.hub() as gateway, agent(place) as there:
        connected(gateway)
        sealed = there._seals.outward.seal("logs", {"n": 1})
        there._stream.send(sealed + sealed, deadline_s=soon())
        ended(gateway, "out-of-order")
    # Closed: everything that was taken in has been delivered.
    assert [body for _, body, _ in gateway.heard] == [{"n": 1}]


def test_a_frame_of_an_unknown_kind_ends_the_connection(place):
    with place.hub() as gateway, agent(place) as there:
        there.send("command", {}, deadline_s=soon())
        ended(gateway, "unexpected-type")


def test_a_process_of_one_launch_cannot_be_taken_over_with_the_key_of_another(place):
    with place.hub() as gateway, agent(place):
        connected(gateway)
        with agent(place, launch="cd" * 16, command="intruder"):
            ended(gateway, "foreign-launch")
        assert [item.command for item in gateway.processes()] == ["app.py"]


def test_a_process_beside_it_with_the_same_launch_cannot_take_its_place_as_long_as_it_is_there(place):
    """The kernel says who is at the other end; when the process has ended, its id is free, as after a lost hub."""
    elsewhere = f"""
        import sys
        from types import SimpleNamespace
        from agent_by_hand import agent
        place = SimpleNamespace(socket={str(place.socket)!r}, key=bytes.fromhex({place.key.hex()!r}))
        with agent(place, command="impostor") as there:
            print("in", flush=True)
            sys.stdin.read()
    """
    command = (sys.executable, "-c", textwrap.dedent(elsewhere))
    environment = clean_environment() | {
        "PYTHONPATH": os.pathsep.join((SOURCES, str(Path(agents_harness.__file__).parent)))
    }
    with place.hub() as gateway:
        with agent(place) as there:
            connected(gateway)
            with host(*command, env=environment, cwd=place.repository):
                ended(gateway, "foreign-process")
            there.send("logs", {"n": 1}, deadline_s=soon())
            assert [item.command for item in connected(gateway)] == ["app.py"]
            there.send("goodbye", {}, deadline_s=soon())
            wait_for(lambda: not gateway.processes())
        with host(*command, env=environment, cwd=place.repository) as other:
            assert other.stdout.readline() == "in\n"
            assert [item.command for item in connected(gateway)] == ["impostor"]
        # It was killed, without a goodbye.
        with agent(place):
            wait_for(lambda: [item.command for item in connected(gateway)] == ["app.py"])


def test_one_process_calls_itself_by_so_many_ids_and_no_more(place, monkeypatch):
    monkeypatch.setattr("homeostat.adapters.agents.roster.MAX_NAMES", 3)
    with place.hub() as gateway:
        for number in range(5):
            with agent(place, process=f"{PROCESS[:-1]}{number}") as there:
                with suppress(ProtocolError):  # one that is refused may be cut off before it can say so
                    there.send("goodbye", {}, deadline_s=soon())
                wait_for(lambda number=number: sum(gateway.stats().ended.values()) == number + 1)
        assert gateway.stats().ended == {"goodbye": 3, "too-many-names": 2}
        with agent(place, process=f"{PROCESS[:-1]}1"):
            connected(gateway)


def test_what_is_small_on_the_wire_and_large_in_memory_counts_by_what_it_takes(place):
    with place.hub() as gateway, agent(place) as there:
        connected(gateway)
        there.send("logs", {"x": [[]] * 1_000_000}, deadline_s=soon())
        wait_for(lambda: gateway.stats().telemetry_dropped == 1)
        there.send("logs", {"x": ["like", "any other"] * 20_000}, deadline_s=soon())
        wait_for(lambda: gateway.heard)


def test_a_process_that_dials_again_takes_the_place_of_its_old_connection(place):
    with place.hub() as gateway, agent(place) as old:
        connected(gateway)
        with agent(place, generation=3, changes=["c1"]):
            with pytest.raises(ProtocolError, match="closed"):
                old.receive(deadline_s=soon())
            (process,) = connected(gateway)
            assert (process.generation, process.changes) == (3, ("c1",))


def test_a_lost_process_is_listed_for_its_lease_and_no_longer(place):
    class Clock(SystemClock):
        at_s = 100.0

        def monotonic_s(self):
            return self.at_s

    clock, told = Clock(), []
    gateway = place.gateway(
        clock=clock, on_processes_changed=lambda: told.append([item.connected for item in gateway.processes()])
    )
    gateway.start()
    with closing(gateway):
        with agent(place):
            connected(gateway)
        wait_for(lambda: told[-1:] == [[False]], what="word of the loss")
        assert not gateway.wait_until_connected([PROCESS], timeout_s=0.01)
        clock.at_s += 14.9
        assert len(gateway.processes()) == 1
        clock.at_s += 0.2
        wait_for(lambda: told[-1:] == [[]], what="word of the end of the lease")
        # It may be stopped, and go on: it has not ended for all that is known.
        assert not gateway.wait_until_connected([PROCESS], timeout_s=0)


def test_a_young_hub_says_that_it_may_not_have_heard_of_everyone_yet_and_waits_no_longer_than_asked(place):
    with place.hub(gather_s=60.0) as gateway:
        assert not gateway.wait_until_gathered(timeout_s=0)
        assert not gateway.wait_until_gathered(timeout_s=0.01)
    with place.hub(gather_s=0.05) as gateway:
        assert gateway.wait_until_gathered(timeout_s=10.0)
        assert gateway.wait_until_gathered(timeout_s=0)


def test_a_closed_door_lets_nobody_conclude_that_programs_are_gone(place):
    with place.hub(gather_s=60.0) as gateway, agent(place):
        (process,) = connected(gateway)
        gateway.close()
        for ask in (
            gateway.processes,
            lambda: gateway.rollback(process.id, "c1", timeout_s=1.0),
            lambda: gateway.wait_until_connected([process.id], timeout_s=1.0),
            lambda: gateway.wait_until_gathered(timeout_s=1.0),
        ):
            with pytest.raises(Unavailable) as caught:
                ask()
            assert caught.value.code == "hub-stopping"


def test_a_process_that_says_goodbye_is_gone_at_once(place):
    with place.hub() as gateway, agent(place) as there:
        connected(gateway)
        there.send("goodbye", {}, deadline_s=soon())
        wait_for(lambda: not gateway.processes())
        assert gateway.wait_until_connected([PROCESS], timeout_s=0)


def test_a_slow_listener_does_not_hold_up_answers_and_what_does_not_fit_is_counted(place, monkeypatch):
    monkeypatch.setattr("homeostat.adapters.agents.delivery.MAX_FRAMES", 3)
    go = threading.Event()
    with place.hub(on_telemetry=lambda *_: go.wait(20)) as gateway, agent(place) as there:
        connected(gateway)
        for number in range(10):
            there.send("logs", {"n": number}, deadline_s=soon())
        result = in_background(gateway.prepare, PROCESS, CHANGE, timeout_s=8)
        answer(there, outcome="swapped", detail="")
        assert result().outcome is LiveOutcome.SWAPPED
        assert gateway.stats().telemetry_dropped >= 6
        go.set()


def test_a_listener_that_raises_is_counted_and_called_again(place):
    calls = []

    def listen(kind, body, process):
        calls.append(body)
        raise ValueError("bad record")

    with place.hub(on_telemetry=listen) as gateway, agent(place) as there:
        there.send("logs", {"n": 1}, deadline_s=soon())
        there.send("metrics", {"n": 2}, deadline_s=soon())
        wait_for(lambda: len(calls) == 2)
        wait_for(lambda: gateway.stats().callback_failures == 2)
        assert gateway.stats().last_callback_failure == "ValueError: bad record"


def test_what_was_queued_is_delivered_before_the_gateway_closes(place):
    with place.hub() as gateway, agent(place) as there:
        for number in range(50):
            there.send("logs", {"n": number}, deadline_s=soon())
        there.send("goodbye", {}, deadline_s=soon())
        ended(gateway, "goodbye")
    assert [body["n"] for _, body, _ in gateway.heard] == list(range(50))


# The door


def test_a_second_gateway_does_not_take_the_door_of_the_first(place):
    with place.hub() as first:
        with pytest.raises(Conflict) as refused:
            place.gateway().start()
        assert refused.value.code == "gateway-running"
        with agent(place):
            connected(first)


def test_the_door_is_ours_alone_and_gone_after_closing(place):
    with place.hub():
        assert place.socket.stat().st_mode & 0o777 == 0o600
        assert place.socket.parent.stat().st_mode & 0o777 == 0o700
    assert not place.socket.exists()


def test_a_folder_that_others_may_enter_is_no_place_for_the_door(place):
    place.socket.parent.chmod(0o755)
    with pytest.raises(Unavailable) as refused:
        place.gateway().start()
    assert refused.value.code == "agent-folder-not-private"


def test_a_file_in_the_place_of_the_door_is_not_removed(place):
    place.socket.write_text("precious")
    with pytest.raises(Unavailable):
        place.gateway().start()
    assert place.socket.read_text() == "precious"


def test_a_door_that_a_cleaner_removed_is_opened_again(place, monkeypatch):
    monkeypatch.setattr(gateway_module, "_CHECK_DOOR_EVERY_S", 0.1)
    with place.hub() as gateway, agent(place):
        connected(gateway)
        place.socket.unlink()
        wait_for(place.socket.exists)
        with agent(place, process=ProcessId(PROCESS[:-1] + "0")):
            assert len(connected(gateway, 2)) == 2


def test_a_master_key_of_another_length_is_refused(place):
    with pytest.raises(Unavailable, match="31 bytes"):
        place.gateway(master_key=b"x" * 31)


# Real programs


def test_a_program_goes_on_through_the_death_and_return_of_the_hub(place):
    place.write(
        "app.py",
        """
        import logging, sys
        for line in sys.stdin:
            logging.warning("line %s", line.strip())
            print("went on", flush=True)
        """,
    )
    environment = place.launch().environment(clean_environment())
    with host(sys.executable, "app.py", env=environment, cwd=place.repository) as program:

        def step(word):
            program.stdin.write(word + "\n")
            program.stdin.flush()
            assert program.stdout.readline() == "went on\n"

        with place.hub_process() as first:
            wait_for(lambda: first.stdout.readline() == "1\n")
            step("one")
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
            assert place.socket.exists(), "a killed hub leaves its socket behind"
            step("two")
        with place.hub() as second:
            (process,) = connected(second)
            assert process.pid == program.pid
            wait_for(lambda: [text for text, _, _ in records(second)][-1:] == ["line two"])
            step("three")
            wait_for(lambda: [text for text, _, _ in records(second)][-1:] == ["line three"])
            assert second.wait_until_connected([process.id], timeout_s=0)


def states(pid):
    """Return the states of a process's threads, in the kernel's letters."""
    return {(task / "stat").read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").iterdir()}


def test_a_stopped_program_does_not_do_later_what_was_given_up(place):
    place.write("prices.py", "def price(x):\n    return x * 2\n")
    place.write(
        "app.py", "import sys, prices\nfor line in sys.stdin:\n    print(prices.price(int(line)), flush=True)\n"
    )
    environment = place.launch().environment(clean_environment())
    module = ModuleChange(
        path="prices.py",
        old_source="def price(x):\n    return x * 2\n",
        new_source="def price(x):\n    return x * 3\n",
    )
    with place.hub() as gateway, host(sys.executable, "app.py", env=environment, cwd=place.repository) as program:
        (process,) = connected(gateway)
        os.kill(program.pid, signal.SIGSTOP)
        wait_for(lambda: states(program.pid) == {"T"}, what="every thread to be stopped")
        try:
            given_up = gateway.swap(process.id, LiveChange(id="c1", mode="safe", modules=(module,)), timeout_s=0.5)
        finally:
            os.kill(program.pid, signal.SIGCONT)
        assert given_up.outcome is LiveOutcome.UNREACHABLE
        # The next command is answered after the first was read and refused.
        assert gateway.rollback(process.id, "other", timeout_s=10).outcome is LiveOutcome.SWAPPED
        program.stdin.write("10\n")
        program.stdin.flush()
        assert program.stdout.readline() == "20\n"
        assert gateway.processes()[0].changes == ()
