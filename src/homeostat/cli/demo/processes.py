"""The demo's processes: hub with service, and the load beside them."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from homeostat.cli.demo.stage import Stage
from homeostat.core.errors import Unavailable


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def homeostat(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the `homeostat` command as a user would, and return what it printed."""
    command = [sys.executable, "-m", "homeostat", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=_clean_environment())


def start_hub(stage: Stage, service_port: int) -> "subprocess.Popen[bytes]":
    """Start `homeostat up -- SERVICE`; its output goes to a file on the stage."""
    service = [str(stage.python), "-m", "uvicorn", "orders.app:app", "--port", str(service_port), "--no-access-log"]
    command = [sys.executable, "-m", "homeostat", "up", "--port", "0", "--repo", str(stage.repository), "--", *service]
    with (stage.root / "hub.log").open("wb") as log:
        return subprocess.Popen(
            command, cwd=stage.repository, stdout=log, stderr=subprocess.STDOUT, env=_clean_environment()
        )


def answers(url: str) -> bool:
    """Tell whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - a loopback address of the demo
            return bool(answer.status == 200)
    except OSError:
        return False


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop a process politely, then firmly."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(slots=True)
class Load:
    """The load process and what it has counted so far."""

    process: "subprocess.Popen[str]"
    lines: list[Mapping[str, float]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def start(cls, stage: Stage, url: str, *, rate: float) -> "Load":
        command = [str(stage.python), str(stage.repository / "load.py"), "--url", url, "--rate", str(rate)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_clean_environment())
        load = cls(process=process)
        threading.Thread(target=load._read, name="demo-load", daemon=True).start()
        return load

    def total(self, name: str) -> int:
        """Return a count over the whole run."""
        with self._lock:
            return int(sum(line[name] for line in self.lines))

    def last(self, seconds: int) -> dict[str, int]:
        """Return the counts of the last whole seconds."""
        with self._lock:
            recent = self.lines[-seconds:]
        return {name: int(sum(line[name] for line in recent)) for name in ("requests", "failed", "unanswered")}

    def seconds_seen(self) -> int:
        with self._lock:
            return len(self.lines)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._lock:
                self.lines.append(json.loads(line))


def wait_until(what: str, true: Callable[[], bool], *, within_s: float, pause_s: float = 0.05) -> float:
    """Wait until something is seen and return how long it took; `Unavailable` when it is not seen in time."""
    began_s = time.monotonic()
    while not true():
        if time.monotonic() - began_s > within_s:
            raise Unavailable("demo-step-not-seen", f"not seen within {within_s:.0f} s: {what}")
        time.sleep(pause_s)
    return time.monotonic() - began_s


def holds_text(folder: Path, text: bytes) -> list[str]:
    """Return the files below a folder that hold these bytes."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("HOMEOSTAT_", "AETHERRA_"))}
