"""A state directory, a hub's door, and host programs as real processes, for the tests of the agents' part."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from homeostat.adapters.agents.gateway import AgentGateway
from homeostat.adapters.agents.launch import prepare_launch
from homeostat.adapters.agents.socket_place import choose_socket_path

SOURCES = os.pathsep.join(str(Path(__file__).parents[1] / part) for part in ("src", "agent/src"))


class SystemClock:
    def now(self):
        return datetime.now(UTC)

    def lead(self):
        return timedelta(0)

    def monotonic_s(self):
        return time.monotonic()


def wait_for(condition, *, what="", timeout_s=20.0):
    """Return the first true answer of `condition`, or fail when there was none in time."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"waited {timeout_s} s in vain for {what or condition}")


class Place:
    """A host's repository with its state directory and the agents' key."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "shop"
        self.state = self.repository / ".homeostat"
        (self.state / "keys").mkdir(parents=True)
        (self.state / "run").mkdir(mode=0o700)
        for path in (self.state, self.state / "keys"):
            path.chmod(0o700)
        self.key = os.urandom(32)
        key_file = self.state / "keys" / "agent.key"
        key_file.write_bytes(self.key)
        key_file.chmod(0o600)
        self.socket = choose_socket_path(self.state)

    def launch(self, *, hmr=True, supervisor=None):
        return prepare_launch(
            state_dir=self.state,
            repository=self.repository,
            commit=None,
            service_name="shop",
            hmr_enabled=hmr,
            hmr_mode="safe",
            supervisor=supervisor,
        )

    def write(self, name: str, text: str) -> Path:
        path = self.repository / name
        path.write_text(textwrap.dedent(text))
        return path

    def run(self, *command, launch=None, env=None, timeout_s=30):
        """Run a launched program to its end."""
        return subprocess.run(
            list(map(str, command)),
            env=(launch or self.launch()).environment(clean_environment() | (env or {})),
            cwd=self.repository,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def gateway(self, **over):
        heard = []
        gateway = AgentGateway(
            **{
                "socket_path": self.socket,
                "master_key": self.key,
                "clock": SystemClock(),
                "on_telemetry": lambda kind, body, process: heard.append((kind, body, process)),
                "on_processes_changed": lambda: None,
            }
            | over
        )
        gateway.heard = heard
        return gateway

    @contextmanager
    def hub(self, **over):
        gateway = self.gateway(**over)
        gateway.start()
        try:
            yield gateway
        finally:
            gateway.close()

    @contextmanager
    def hub_process(self):
        """A gateway in a process of its own, to be killed."""
        code = """
            import sys, time
            from pathlib import Path
            from agents_harness import SystemClock
            from homeostat.adapters.agents.gateway import AgentGateway
            gateway = AgentGateway(socket_path=Path(sys.argv[1]), master_key=bytes.fromhex(sys.argv[2]),
                                   clock=SystemClock(), on_telemetry=lambda *_: None, on_processes_changed=lambda: None)
            gateway.start()
            while True:
                print(len(gateway.processes()), flush=True)
                time.sleep(0.05)
        """
        environment = clean_environment() | {"PYTHONPATH": os.pathsep.join((SOURCES, str(Path(__file__).parent)))}
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(self.socket), self.key.hex()],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def clean_environment():
    """What an ordinary program has: nothing of the test run's Python, nothing of ours."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


@contextmanager
def host(*command, env, cwd, **options):
    """A host program with pipes, in a process group of its own that is killed at the end."""
    process = subprocess.Popen(
        list(map(str, command)),
        env=env,
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)


def connected(gateway, count=1):
    """Return the connected processes once there are `count` of them."""
    return wait_for(
        lambda: (found := [item for item in gateway.processes() if item.connected]) and len(found) == count and found,
        what=f"{count} connected processes, have {[item.command for item in gateway.processes()]}",
    )


def records(gateway):
    """Return every log record heard so far as (message, exception type, pid)."""
    found = []
    for kind, body, process in tuple(gateway.heard):
        if kind != "logs":
            continue
        for resource in body["resourceLogs"]:
            for scope in resource["scopeLogs"]:
                for record in scope["logRecords"]:
                    attributes = {item["key"]: item["value"].get("stringValue") for item in record["attributes"]}
                    found.append((record["body"]["stringValue"], attributes.get("exception.type"), process.pid))
    return found


PROGRAM = """
import sys
import shop
for line in sys.stdin:
    try:
        print(shop.price(line.strip()), flush=True)
    except KeyError:
        print("KeyError", flush=True)
"""
"""Answers each line with the price of it, as `shop.py` of `homeostat.testing.world` has it."""


def asked(program):
    """Return the price of nothing that there is, as `PROGRAM` has it."""
    program.stdin.write("nobody\n")
    program.stdin.flush()
    return program.stdout.readline().strip()
