"""A shop of its own with its program running, and the hubs that come and go beside it."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
from e2e.support.forked import Forked, homeostat
from e2e.support.load import get
from e2e.support.mortal import NONE, Moment, start_mortal
from e2e.support.processes import Processes, wait_for
from e2e.support.shop import Shop, environment
from e2e.support.terminal import PROPOSALS

from homeostat.adapters.agents.launch import prepare_launch


def start_up(root: Path, log: Path, *command: str, variables: Mapping[str, str] = NONE) -> Forked:
    """Start `homeostat up --port 0 [-- COMMAND]` in the repository."""
    arguments = ("up", "--port", "0", *(("--", *command) if command else ()))
    return homeostat(arguments, cwd=root, env=environment(**variables), out=log, err=log)


class HubProcess:
    """A hub process, mortal or not. `wait_until_ready` comes first."""

    def __init__(self, process: Forked, shop: Shop, log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.log = log
        self.client = httpx.Client(timeout=60, trust_env=False, verify=False)  # over plain HTTP
        self._state_dir = shop.state_dir

    def wait_until_ready(self) -> None:
        url = wait_for(self._address, what="the hub to be ready")
        assert url is not None
        token = (self._state_dir / "keys" / "owner.token").read_text().strip()
        self.client.base_url = httpx.URL(url)
        self.client.headers["Authorization"] = f"Bearer {token}"

    def _address(self) -> str | None:
        assert self.process.poll() is None, f"the hub ended with {self.process.returncode}: {self.log.read_text()}"
        try:
            told = json.loads((self._state_dir / "run" / "hub.json").read_text())
        except (OSError, ValueError):
            return None
        return str(told["url"]) if told["pid"] == self.pid and get(told["url"], "/health/live")[0] else None

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def proposals(self) -> Mapping[str, Any]:
        """Return every proposal by its title."""
        return {item["title"]: item for item in self.get(PROPOSALS)["proposals"]}

    def ask(self, path: str, body: Mapping[str, Any]) -> None:
        """Post; the hub may die over it, but whatever it answers must be good."""
        try:
            answer = self.client.post(path, json=body)
        except httpx.TransportError:
            return
        assert answer.is_success, answer.text

    def connected(self) -> list[Any]:
        return [item for item in self.get("/api/processes")["processes"] if item["connected"]]

    def wait_for_state(self, title: str, *states: str) -> Any:
        def there() -> Any:
            found = self.proposals().get(title)
            return found if found and found["state"] in states else None

        try:
            return wait_for(there, what=f"{title} to be {states}", within_s=90, pause_s=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.proposals()}\n{self.log.read_text()}") from None

    def wait_for_death(self) -> None:
        code = self.process.wait(40)
        self.client.close()
        assert code == -signal.SIGKILL, f"it did not die: {code}"

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self.client.close()
        assert code == 0, f"{code}: {self.log.read_text()}"

    def end(self) -> None:
        """Kill it, and the program that it may have started."""
        self.client.close()
        with suppress(ProcessLookupError):  # it leads a group of its own as soon as it runs our code
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(10)


class Stage:
    """A shop of its own, copied from the template, with its program running."""

    def __init__(self, template: Shop, folder: Path, variables: Mapping[str, str] = NONE) -> None:
        """`variables` are settings of every hub that comes."""
        folder.mkdir()
        self._variables = variables
        self.folder = folder
        shutil.copytree(template.root, folder / "shop", symlinks=True, ignore=shutil.ignore_patterns("run"))
        self.shop = Shop(folder / "shop")
        self.armed = folder / "armed"
        self.trace = folder / "trace"
        self.trace.touch()
        self.hub: HubProcess
        self._processes = Processes()
        self._hubs: list[HubProcess] = []
        self.program = self._start_program()
        self.url = self._shop_url()

    def raise_curtain(self, moment: Moment | None) -> None:
        log = self.folder / "mortal.log"
        process = start_mortal(
            self.shop.root, log, armed=self.armed, trace=self.trace, moment=moment, variables=self._variables
        )
        self._enter(HubProcess(process, self.shop, log))

    def start_again(self) -> None:
        log = self.folder / "again.log"
        self._enter(HubProcess(start_up(self.shop.root, log, variables=self._variables), self.shop, log))

    def end(self) -> None:
        for hub in self._hubs:
            hub.end()
        self._processes.end()

    def flows_are_done(self) -> bool:
        """Tell whether no workflow of the hub is under way."""
        with closing(sqlite3.connect(f"file:{self.shop.state_dir / 'flows.sqlite'}?mode=ro", uri=True)) as flows:
            found = flows.execute("SELECT count(*) FROM workflow_status WHERE status IN ('PENDING', 'ENQUEUED')")
            return bool(found.fetchone()[0] == 0)

    def price(self, **query: object) -> tuple[int, object]:
        words = "&".join(f"{name}={value}" for name, value in query.items())
        return get(self.url, f"/price?{words}")

    def _enter(self, hub: HubProcess) -> None:
        self.hub = hub
        self._hubs.append(hub)
        hub.wait_until_ready()
        wait_for(lambda: len(hub.connected()) == 1, what="the shop's agent to be attached")

    def _start_program(self) -> "subprocess.Popen[bytes]":
        (self.shop.state_dir / "run").mkdir(mode=0o700)
        launch = prepare_launch(
            state_dir=self.shop.state_dir,
            repository=self.shop.root,
            commit=self.shop.head(),
            service_name="shop",
            hmr_enabled=True,
            hmr_mode="safe",
        )
        return self._processes.start(
            [sys.executable, "-m", "shop", self.folder / "port"],
            cwd=self.shop.root,
            env=launch.environment(environment()),
            log=self.folder / "shop.log",
        )

    def _shop_url(self) -> str:
        wait_for((self.folder / "port").exists, what="the shop to listen")
        return f"http://127.0.0.1:{(self.folder / 'port').read_text()}"
