"""An agent's end of the wire, spoken by hand, and strangers at the same door."""

import socket
import threading
import time
from contextlib import contextmanager

from agents_harness import wait_for
from homeostat_agent.connection import dial
from homeostat_agent.protocol import launch_key

from homeostat.core.ids import ProcessId
from homeostat.ports.live import LiveChange, ModuleChange

LAUNCH = "ab" * 16
PROCESS = ProcessId("0b9c7b4e-6f2a-4c0f-8e1d-2a4f3c5d6e7f")
FACTS = {
    "pid": 4711,
    "started_ms": 1_700_000_000_000,
    "python": "3.12.1",
    "command": "app.py",
    "commit": "a" * 40,
    "hmr_enabled": True,
    "generation": 0,
    "changes": [],
}
CHANGE = LiveChange(id="c1", mode="safe", modules=(ModuleChange(path="a.py", old_source="", new_source=""),))


@contextmanager
def agent(place, *, process=PROCESS, launch=LAUNCH, key=None, **facts):
    """An agent's end of the wire, by hand."""
    end_s = time.monotonic() + 10
    connection = dial(
        str(place.socket),
        launch_id=launch,
        key_of_launch=launch_key(key or place.key, launch),
        process_id=process,
        facts=FACTS | facts,
        deadline_s=lambda: end_s,
    )
    try:
        yield connection
    finally:
        connection.close()


def soon():
    end_s = time.monotonic() + 10
    return lambda: end_s


@contextmanager
def stranger(place):
    connecting = socket.socket(socket.AF_UNIX)
    connecting.settimeout(20)
    connecting.connect(str(place.socket))
    try:
        yield connecting
    finally:
        connecting.close()


def ended(gateway, reason, count=1):
    wait_for(lambda: gateway.stats().ended.get(reason) == count, what=f"{reason}: {gateway.stats().ended}")


def answer(there, *, generation=0, changes=(), **fields):
    """Answer the next command as an agent would."""
    kind, payload = there.receive(deadline_s=soon())
    assert kind == "command"
    there.send(
        "answer",
        {"command_id": payload["command_id"], "generation": generation, "changes": list(changes), **fields},
        deadline_s=soon(),
    )
    return payload


def in_background(call, *arguments, **named):
    results = []
    thread = threading.Thread(target=lambda: results.append(call(*arguments, **named)), daemon=True)
    thread.start()

    def result():
        thread.join(20)
        return results[0]

    return result
