"""What flows may count on of `Measures`: one suite for the fake, and for a real Prometheus that scrapes a program."""

import http.server
import itertools
import json
import shutil
import subprocess
import threading
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from agents_harness import wait_for

from homeostat.adapters.prometheus import Prometheus
from homeostat.model.settings import PrometheusQuery
from homeostat.ports.measuring import Measures
from homeostat.rollout.detectors.queries import Unanswered
from homeostat.testing.fake_measures import FakeMeasures

QUEUED = PrometheusQuery(name="queue", query="shop_queue", above=10)
_PATIENCE_S = 60


class FakeWorld:
    def __init__(self):
        self.measures = FakeMeasures()

    def measure(self, *values):
        self.measures.put("shop_queue", datetime.now(UTC) - timedelta(seconds=30), *values)

    def fall_silent(self):
        self.measures.fall_silent("it is gone")

    def close(self):
        pass


class _Exporter(http.server.ThreadingHTTPServer):
    daemon_threads = True
    values = ()


class _Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        lines = [f'shop_queue{{shelf="{number}"}} {value}' for number, value in enumerate(self.server.values)]
        body = "".join(f"{line}\n" for line in lines).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class PrometheusWorld:
    """Debian's Prometheus in a folder of its own, which scrapes an exporter every quarter of a second."""

    def __init__(self, folder):
        program = shutil.which("prometheus")
        if program is None:
            pytest.skip("there is no prometheus here (`make system-deps`)")
        self.exporter = _Exporter(("127.0.0.1", 0), _Metrics)
        threading.Thread(target=self.exporter.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        scraped = {
            "job_name": "shop",
            "scrape_interval": "250ms",
            "scrape_timeout": "250ms",
            "static_configs": [{"targets": [f"127.0.0.1:{self.exporter.server_address[1]}"]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [scraped]}))
        self._log = (folder / "log").open("w+")
        self._process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        try:
            self.url = wait_for(self._address, what="it listens", timeout_s=_PATIENCE_S)
            wait_for(self._ready, what="it is ready", timeout_s=_PATIENCE_S)
        except BaseException:
            self.close()
            raise
        self.measures = Prometheus(self.url, fresh_s=0.1)

    def measure(self, *values):
        self.exporter.values = values

    def fall_silent(self):
        self._process.terminate()
        self._process.wait(timeout=_PATIENCE_S)

    def close(self):
        if hasattr(self, "measures"):
            self.measures.close()
        self._process.kill()
        self._process.wait(timeout=_PATIENCE_S)
        self._log.close()
        self.exporter.shutdown()
        self.exporter.server_close()

    def _address(self):
        """Return where it listens: with port 0 only the system knows."""
        assert self._process.poll() is None, "it ended at once"
        inodes = _sockets_of(self._process.pid)
        for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                return f"http://127.0.0.1:{int(fields[1].partition(':')[2], 16)}"
        return None

    def _ready(self):
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


def _sockets_of(pid):
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


@pytest.fixture(params=["fake", "prometheus"])
def world(request, tmp_path):
    made = FakeWorld() if request.param == "fake" else PrometheusWorld(tmp_path)
    yield made
    made.close()


def ask(world, query=QUEUED, *, since=None):
    """Ask again and again, as a beat does, until it is answered."""
    since = since or datetime.now(UTC) - timedelta(seconds=20)

    def answer():
        found = world.measures.answer(query, since=since, until=datetime.now(UTC))
        return None if isinstance(found, Unanswered) else found

    return wait_for(answer, what="an answer", timeout_s=_PATIENCE_S)


def present(world, query=QUEUED):
    return ask(world, query)[-1].value


def test_the_present_value_of_a_query_is_told_and_of_several_series_the_worst(world):
    """In one story, as a real server takes its time to start."""
    measures: Measures = world.measures
    now = datetime.now(UTC)
    first = measures.answer(QUEUED, since=now - timedelta(seconds=20), until=now)
    assert isinstance(first, Unanswered), "it does not wait for an answer"
    assert present(world) is None, "nobody measured anything"
    world.measure(3.0, 12.5, 7.0)
    answer = wait_for(lambda: (found := ask(world))[-1].value and found, what="a value", timeout_s=_PATIENCE_S)
    assert answer[-1].value == 12.5
    assert all(b.at - a.at == timedelta(seconds=5) for a, b in itertools.pairwise(answer))
    below = PrometheusQuery(name="least", query="shop_queue", below=5)
    assert wait_for(lambda: present(world, below), what="a value", timeout_s=_PATIENCE_S) == 3.0
    world.measure(float("nan"))
    anew = PrometheusQuery(name="nan", query="shop_queue", above=1.5)
    wait_for(lambda: present(world, anew) is None, what="no number", timeout_s=_PATIENCE_S)
    for since in (now - timedelta(minutes=10), now - timedelta(seconds=20)):
        assert abs(ask(world, since=since)[0].at - since) < timedelta(seconds=1), "of the time that was asked for"
    assert ask(world, since=now)
    world.fall_silent()
    gone = wait_for(
        lambda: isinstance(found := measures.answer(QUEUED, since=now, until=datetime.now(UTC)), Unanswered) and found,
        what="it to be gone",
        timeout_s=_PATIENCE_S,
    )
    assert gone.reason
