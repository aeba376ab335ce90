"""The background thread, against hubs that are good, dead, slow, forged or come back. Real sockets, a real thread."""

import itertools
import os
import socket
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from agents_harness import wait_for
from homeostat_agent.commands import Command, digest_of
from homeostat_agent.connection import dial
from homeostat_agent.control import Control
from homeostat_agent.haste import HURRIED_S
from homeostat_agent.protocol import MAX_FRAME_BYTES, NONCE_BYTES, HubHandshake, ProtocolError, frame, launch_key
from homeostat_agent.sender import BACKOFF_MIN_S, KEPT_VITALS, Sender
from homeostat_agent.stream import FramedSocket

MASTER = bytes(range(32))
LAUNCH = "ab" * 16
PROCESS = "0b9c7b4e-6f2a-4c0f-8e1d-2a4f3c5d6e7f"


COMMAND = {"command_id": "2", "kind": "ping", "generation": 0, "expires_ms": 1 << 60, "body": {}}


class ListSource:
    """Telemetry from lists that a test fills."""

    def __init__(self):
        self.records = []
        self.vitals_taken_s = []

    def drain(self, limit):
        taken, self.records[:limit] = self.records[:limit], []
        return taken

    def encode_logs(self, records):
        return {"records": records}

    def vitals(self):
        self.vitals_taken_s.append(time.monotonic())
        return {"n": len(self.vitals_taken_s)}


class ScriptedHub:
    """The hub's end of the wire, by hand, so that it can do what a good hub never does."""

    def __init__(self, path, *, master=MASTER):
        self.master = master
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(8)
        self._listener.settimeout(20)
        self.stream = None
        self.seals = None

    def accept(self):
        if self.stream is not None:
            self.stream.close()
        connected, _ = self._listener.accept()
        self.stream = FramedSocket(connected)
        return self

    def receive(self, timeout_s=20):
        end_s = time.monotonic() + timeout_s
        return self.stream.receive_by(lambda: end_s)

    def send(self, whole):
        self.stream.send(whole, deadline_s=lambda: time.monotonic() + 5)

    def shake_hands(self, *, now_ms=None):
        self.accept()
        handshake = HubHandshake(master_key=self.master, nonce=os.urandom(NONCE_BYTES))
        self.hello = self.receive()
        self.send(handshake.challenge(self.hello))
        self.seals = handshake.finish(self.receive())
        self.stream.reader.limit = MAX_FRAME_BYTES
        now_ms = int(time.monotonic() * 1000) if now_ms is None else now_ms
        self.send(self.seals.outward.seal("welcome", {"now_ms": now_ms}))
        return self

    def next(self, *kinds):
        """Return the payload of the next frame of one of these kinds, passing over the others."""
        while True:
            kind, payload = self.seals.inward.open(self.receive())
            if kind in kinds:
                return payload

    def command(self, kind, body, **over):
        fields = {
            "process_id": PROCESS,
            "generation": 0,
            "digest": digest_of(body),
            "expires_ms": int(time.monotonic() * 1000) + 5000,
        }
        command = Command(command_id="1", kind=kind, body=body, **(fields | over))
        sealed = self.seals.outward.seal("command", command.payload())
        self.send(sealed)
        return sealed

    def hang_up(self):
        self.stream.close()

    def close(self):
        if self.stream is not None:
            self.stream.close()
        self._listener.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s"


@contextmanager
def hub(path, **options):
    opened = ScriptedHub(path, **options)
    try:
        yield opened
    finally:
        opened.close()
        path.unlink()


@pytest.fixture
def source():
    return ListSource()


@pytest.fixture
def control():
    return Control(process_id=PROCESS, hmr_enabled=False, hmr_mode="safe", make_reloader=pytest.fail)


@pytest.fixture
def sender(path, source, control):
    def connect(deadline_s):
        return dial(
            str(path),
            launch_id=LAUNCH,
            key_of_launch=launch_key(MASTER, LAUNCH),
            process_id=PROCESS,
            facts={"pid": 1},
            deadline_s=deadline_s,
        )

    subject = Sender(source=source, control=control, dial=connect)
    yield subject
    subject.stop(0.5)


def lost(sender, reason):
    wait_for(lambda: sender.last_loss == reason, what=f"{reason}, not {sender.last_loss}")


def test_telemetry_goes_out_logs_at_once_and_vitals_every_second(path, sender, source):
    with hub(path) as there:
        source.records = list(range(450))
        sender.start()
        there.shake_hands()
        assert there.next("logs") == {"records": list(range(200))}
        assert there.next("logs") == {"records": list(range(200, 400))}
        assert there.next("logs") == {"records": list(range(400, 450))}
        assert there.next("metrics") == {"n": 1}
        assert there.next("metrics") == {"n": 2}
        first_s, second_s = source.vitals_taken_s[:2]
        assert second_s - first_s > 0.5  # a busy machine only makes it more


def test_a_command_is_answered_at_once(path, sender):
    with hub(path) as there:
        sender.start()
        there.shake_hands()
        there.command("ping", {})
        assert there.next("answer")["outcome"] == "pong"


def test_vitals_are_sent_before_a_swap_so_that_none_lie_on_both_sides(path, sender):
    with hub(path) as there:
        sender.start()
        there.shake_hands()
        there.command("rollback", {"change_id": "c"})
        assert there.seals.inward.open(there.receive()) == ("metrics", {"n": 1})
        assert there.seals.inward.open(there.receive())[0] == "answer"


def test_a_command_is_received_and_answered_in_haste_and_nothing_else_is(path, sender, source, control):
    usual, seen = sys.getswitchinterval(), []

    def vitals():
        seen.append(round(sys.getswitchinterval(), 6))
        return {}

    source.vitals = vitals
    sys.setswitchinterval(0.004)
    try:
        with hub(path) as there:
            sender.start()
            there.shake_hands()
            there.next("metrics")
            assert set(seen) == {0.004}
            there.command("rollback", {"change_id": "c"})
            assert there.next("answer")["outcome"] == "swapped"
            assert seen[-1] == HURRIED_S
            sealed = there.seals.outward.seal(
                "command", Command(**COMMAND, process_id=PROCESS, digest=digest_of({})).payload()
            )
            there.send(sealed[:-1])  # a hub that stops in the middle of a frame is waited for at the host's pace
            there.next("metrics")
            wait_for(lambda: round(sys.getswitchinterval(), 6) == 0.004)
            there.send(sealed[-1:])
            assert there.next("answer")["outcome"] == "pong"
        wait_for(lambda: round(sys.getswitchinterval(), 6) == 0.004)
    finally:
        sys.setswitchinterval(usual)


def test_an_expired_command_is_refused_by_the_hubs_own_clock_whatever_it_reads(path, sender):
    with hub(path) as there:
        sender.start()
        there.shake_hands(now_ms=1_000_000_000)
        there.command("ping", {}, expires_ms=1_000_000_000)
        assert there.next("answer")["code"] == "expired"
        there.command("ping", {}, expires_ms=1_000_060_000)
        assert there.next("answer")["outcome"] == "pong"


def test_a_forged_hub_gets_the_hello_and_nothing_else(path, sender, source):
    with hub(path, master=os.urandom(32)) as forged:
        source.records = ["secret-ish"]
        sender.start()
        forged.accept()
        hello = forged.receive()
        assert b"secret-ish" not in hello
        forged.send(HubHandshake(master_key=forged.master, nonce=b"n" * 32).challenge(hello))
        with pytest.raises(ProtocolError, match="closed"):
            forged.receive()
        lost(sender, "bad-proof")
    with hub(path) as true:
        true.shake_hands()
        assert true.next("logs") == {"records": ["secret-ish"]}


def test_a_hub_that_sends_commands_without_a_handshake_is_not_obeyed(path, sender):
    with hub(path) as there:
        sender.start()
        there.accept()
        there.receive()
        there.send(frame(b'{"type":"command"}'))
        lost(sender, "unexpected-type")


def test_a_repeated_command_ends_the_connection_and_is_not_carried_out_twice(path, sender):
    with hub(path) as there:
        sender.start()
        there.shake_hands()
        sealed = there.command("ping", {})
        assert there.next("answer")["outcome"] == "pong"
        there.send(sealed)
        with pytest.raises(ProtocolError, match="closed"):
            there.next("answer")
        lost(sender, "out-of-order")


def test_bytes_that_are_no_frame_end_the_connection_and_the_agent_comes_back(path, sender):
    with hub(path) as there:
        sender.start()
        there.shake_hands()
        there.send(b"GET / HTTP/1.1\r\n\r\n")
        lost(sender, "too-large")
        there.shake_hands()
        there.command("ping", {})
        assert there.next("answer")["outcome"] == "pong"


def test_what_could_not_be_sent_is_sent_to_the_hub_that_comes_back(path, sender, source):
    with hub(path) as there:
        sender.start()
        there.shake_hands()
        there.hang_up()
        lost(sender, "closed")
    source.records = ["while it was away"]
    with hub(path) as there:
        there.shake_hands()
        assert there.next("logs") == {"records": ["while it was away"]}


def test_a_hub_that_stops_reading_is_given_up_and_nothing_grows_without_bound(path, sender, source):
    with hub(path) as there:
        sender.start()
        there.shake_hands()
        source.records = ["x" * 10_000] * 2000
        lost(sender, "timeout")
        assert len(source.records) < 2000
        assert not sender.connected
        assert len(sender._batches) <= 1


def test_vitals_of_the_last_minute_are_kept_while_there_is_no_hub(path, sender, source):
    for _ in range(KEPT_VITALS + 5):
        sender._take_vitals(now=True)
    assert (len(sender._vitals), sender.dropped) == (KEPT_VITALS, 5)


def test_a_record_that_is_too_large_is_dropped_and_takes_no_other_with_it(path, sender, source):
    with hub(path) as there:
        source.records = ["a", "b", "x" * (MAX_FRAME_BYTES + 1), "c", {1, 2}, "d"]
        sender.start()
        there.shake_hands()
        got = []
        while len(got) < 4:
            got += there.next("logs")["records"]
        assert got == ["a", "b", "c", "d"]
        assert sender.dropped == 2


def test_tries_to_connect_come_ever_more_rarely(path, source):
    tries = []

    def refuse(deadline_s):
        tries.append(time.monotonic())
        raise ProtocolError("refused")

    control = Control(process_id=PROCESS, hmr_enabled=False, hmr_mode="safe", make_reloader=pytest.fail)
    sender = Sender(source=source, control=control, dial=refuse)
    sender.start()
    wait_for(lambda: len(tries) >= 5)
    sender.stop(0.5)
    gaps = [after - before for before, after in itertools.pairwise(tries)]
    # Delays are 0.1, 0.2, 0.4, 0.8 s, shortened by at most a half.
    assert all(gap >= 0.05 * 2**index for index, gap in enumerate(gaps[:4])), gaps
    assert sender.faults == 0


def test_a_fault_of_ours_is_counted_and_does_not_spin(path, sender, source):
    source.vitals = lambda: 1 / 0
    sender.start()
    wait_for(lambda: sender.faults >= 2)
    assert sender.faults < 20
    assert sender._thread.is_alive()


def test_pausing_ends_the_thread_and_keeps_the_connection(path, sender):
    with hub(path) as there:
        sender.start()
        there.shake_hands()
        wait_for(lambda: sender.connected)
        sender.pause(20)
        assert sender._thread is None
        assert "homeostat-agent" not in [thread.name for thread in threading.enumerate()]
        sender.resume()
        there.command("ping", {})
        assert there.next("answer")["outcome"] == "pong"


def test_stopping_sends_what_is_left_and_says_goodbye(path, sender, source):
    with hub(path) as there:
        sender.start()
        there.shake_hands()
        wait_for(lambda: sender.connected)
        source.records = ["last words"]
        sender.stop(5)
        assert there.next("logs") == {"records": ["last words"]}
        assert there.next("goodbye") == {}


def test_stopping_takes_no_longer_than_it_may_with_a_hub_that_never_answers(path, sender, source):
    with hub(path):
        source.records = ["x"]
        sender.start()
        wait_for(lambda: sender._backoff_s > BACKOFF_MIN_S, what="the thread to wait for a challenge")
        started_s = time.monotonic()
        sender.stop(0.3)
        assert time.monotonic() - started_s < 4  # 0.3 s at most times; 5 s when it waits for the whole handshake


def test_our_descriptor_in_other_hands_is_neither_written_nor_closed(path, sender, tmp_path):
    with hub(path) as there:
        sender.start()
        there.shake_hands()
        connection = wait_for(lambda: sender._connection)
        sender.pause(5)
        number = connection._stream._descriptor.number
        with (tmp_path / "theirs").open("wb") as theirs:
            os.dup2(theirs.fileno(), number)  # the program made itself a daemon, and opened a file of its own
            sender.resume()
            lost(sender, "descriptor-taken")
            os.write(number, b"still theirs")
            os.close(number)
        assert (tmp_path / "theirs").read_bytes() == b"still theirs"


def test_a_program_that_closes_every_descriptor_leaves_the_thread_able_to_wait_and_to_wake(path, sender, tmp_path):
    sender.start()
    first = sender._wake.descriptor.number
    with (tmp_path / "theirs").open("wb") as theirs:
        os.dup2(theirs.fileno(), first)
        wait_for(lambda: sender._wake.descriptor.number != first, what="a new pipe")
        os.write(first, b"still theirs")
        os.close(first)
    assert (tmp_path / "theirs").read_bytes() == b"still theirs"
    sender.pause(20)
    assert sender._thread is None
