"""The hub, the service and its customers as processes: started, killed, and started again."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from e2e.support.load import get
from e2e.support.processes import Processes, descendants, is_running, wait_for
from e2e.support.shop import Shop, environment

from soak.service import FILES, SETTINGS

STATE_MB = 96
RATE = 40.0


@dataclass(frozen=True)
class Kill:
    """One process that was killed, or one time in which something was withheld."""

    at: float
    what: str
    until: float = 0.0
    """When the service answered again, for what made it stop; else 0."""


@dataclass
class Stage:
    """Everything that runs, in one folder."""

    folder: Path
    kills: list[Kill] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shop = Shop.found(self.folder / "shop", files=FILES, settings=SETTINGS)
        self.load_file = self.folder / "load.jsonl"
        self.restarts = {"hub": 0, "service": 0}
        self._processes = Processes()
        self._lock = threading.Lock()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.hub: subprocess.Popen[bytes] | None = None
        self.service: subprocess.Popen[bytes] | None = None
        self.has_own_disk = self._mount()

    def _mount(self) -> bool:
        """Give the state directory a small disk of its own, where we may: it can be filled then."""
        self.shop.state_dir.mkdir(mode=0o700)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={STATE_MB}m,mode=0700", "soak", str(self.shop.state_dir)]
        return os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0

    # Hub

    def start_hub(self) -> None:
        """Start a hub; every second one has changes tried on half of the calls first."""
        self.restarts["hub"] += 1
        more = {"HOMEOSTAT_CANARY_STEPS": "50" if self.restarts["hub"] % 2 else ""}
        self.hub = self._start("hub", "homeostat", "up", "--port", "0", more=more)

    def hub_url(self) -> str | None:
        """Return where the hub answers now; None while it does not."""
        hub = self.hub
        try:
            told = json.loads((self.shop.state_dir / "run" / "hub.json").read_text())
        except (OSError, ValueError):
            return None
        return str(told["url"]) if hub is not None and told["pid"] == hub.pid and hub.poll() is None else None

    def wait_for_hub(self) -> str:
        def there() -> str | None:
            url = self.hub_url()
            return url if url and get(url, "/health/live", timeout_s=5)[0] == 200 else None

        url = wait_for(there, what="the hub to be ready", within_s=120, pause_s=0.2)
        assert url is not None
        return url

    # Service

    def start_service(self) -> None:
        self.restarts["service"] += 1
        uvicorn = [sys.executable, "-m", "uvicorn", "shop_api.app:app", "--workers", "2", "--port", str(self.port)]
        self.service = self._start("service", "homeostat", "run", "--", *uvicorn, "--no-access-log")

    def service_answers(self) -> bool:
        return get(self.url, "/price?item=tea", timeout_s=5)[0] == 200

    def wait_for_service(self) -> None:
        wait_for(self.service_answers, what="the service to answer", within_s=120, pause_s=0.1)

    def service_workers(self) -> list[int]:
        """Return the processes that serve: those that uvicorn has spawned."""
        service = self.service
        if service is None:
            return []
        return [pid for pid in descendants(service.pid) if b"spawn_main" in _command(pid)]

    def start_load(self) -> None:
        tests = Path(__file__).parents[1]
        environ = environment(PYTHONPATH=os.pathsep.join(map(str, (tests, tests.parent / "src"))))
        command = [sys.executable, "-m", "soak.load", self.url, str(RATE), str(self.load_file)]
        self.load = self._processes.start(command, cwd=self.folder, env=environ, log=self.folder / "load.log")

    # Ends

    def note(self, what: str, *, at: float, until: float = 0.0) -> None:
        with self._lock:
            self.kills.append(Kill(at, what, until))

    def kill_tree(self, process: "subprocess.Popen[bytes]") -> None:
        """Kill a process and all below it at once, as a machine's end would."""
        for pid in (process.pid, *descendants(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(20)

    def stop(self, process: "subprocess.Popen[bytes]") -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(60)

    def end(self) -> None:
        for process in (self.service, self.hub):
            if process is not None and process.poll() is None:
                self.kill_tree(process)
        self._processes.end()
        if self.has_own_disk:
            subprocess.run(["umount", "-l", str(self.shop.state_dir)], capture_output=True, check=False)

    def homeostat(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(Path(sys.executable).with_name("homeostat")), *arguments]
        return subprocess.run(
            command, cwd=self.shop.root, env=environment(), capture_output=True, text=True, check=False, timeout=300
        )

    def _start(
        self, name: str, program: str, *arguments: str, more: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        command = [Path(sys.executable).with_name(program), *arguments]
        environ = environment(**(more or {}))
        return self._processes.start(command, cwd=self.shop.root, env=environ, log=self.folder / f"{name}.log")


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def sandboxed(hub_pid: int) -> tuple[list[int], list[int]]:
    """Return the workers of a hub, and what runs below them."""
    family = [pid for pid in descendants(hub_pid) if is_running(pid)]
    workers = [pid for pid in family if b"homeostat.worker" in _command(pid)]
    below = {pid for worker in workers for pid in descendants(worker)}
    return workers, sorted(below)


def now() -> float:
    return time.time()
