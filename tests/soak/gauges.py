"""What hub, service and state directory take up, written down every few seconds."""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soak.stage import Stage

EVERY_S = 5.0
_MB = 1 << 20


@dataclass(frozen=True)
class Reading:
    at_s: float
    pid: int
    rss_mb: float
    files: int
    threads: int
    cpu_s: float


class Gauges:
    """One thread that reads `/proc` and the sizes of the database files."""

    def __init__(self, stage: Stage) -> None:
        self.hub: list[Reading] = []
        self.workers: list[Reading] = []
        self.sizes_mb: list[dict[str, float]] = []
        self._stage = stage
        self._began_s = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            hub = self._stage.hub
            if hub is not None:
                self.hub += self._read(hub.pid)
            for pid in self._stage.service_workers():
                self.workers += self._read(pid)
            names = ("homeostat.sqlite", "homeostat.sqlite-wal", "flows.sqlite", "flows.sqlite-wal")
            self.sizes_mb.append({name: _size_mb(self._stage.shop.state_dir / name) for name in names})

    def _read(self, pid: int) -> list[Reading]:
        place = Path(f"/proc/{pid}")
        try:
            status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines() if ":" in line)
            stat = (place / "stat").read_text().rpartition(")")[2].split()
            return [
                Reading(
                    at_s=time.monotonic() - self._began_s,
                    pid=pid,
                    rss_mb=int(status["VmRSS"].split()[0]) / 1024,
                    files=len(list((place / "fd").iterdir())),
                    threads=int(status["Threads"]),
                    cpu_s=(int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"),
                )
            ]
        except (OSError, KeyError, ValueError):
            return []


def growth(readings: Sequence[Reading]) -> dict[str, float]:
    """Return how the longest-lived process of these grew: per minute, after its first minute."""
    by_pid: dict[int, list[Reading]] = {}
    for reading in readings:
        by_pid.setdefault(reading.pid, []).append(reading)
    if not by_pid:
        return {}
    own = max(by_pid.values(), key=len)
    settled = [reading for reading in own if reading.at_s - own[0].at_s >= 60] or own
    minutes = (settled[-1].at_s - settled[0].at_s) / 60
    lived_s = max(own[-1].at_s - own[0].at_s, 1.0)
    return {
        "lived_min": round(lived_s / 60, 1),
        "rss_mb": round(settled[-1].rss_mb, 1),
        "rss_mb_per_min": round(_slope([(item.at_s / 60, item.rss_mb) for item in settled]), 3) if minutes else 0.0,
        "files": settled[-1].files,
        "files_per_min": round(_slope([(item.at_s / 60, item.files) for item in settled]), 3) if minutes else 0.0,
        "threads": settled[-1].threads,
        "cpu_share": round((own[-1].cpu_s - own[0].cpu_s) / lived_s, 3),
    }


def _slope(points: Sequence[tuple[float, float]]) -> float:
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def _size_mb(path: Path) -> float:
    return round(path.stat().st_size / _MB, 2) if path.exists() else 0.0
