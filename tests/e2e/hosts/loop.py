"""Plays one cell: init, start, errors, finding, patch, proof, approval, live in every process, taken back."""

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from e2e.hosts.cells import PYTEST_COMMAND, Cell
from e2e.hosts.environments import install_project, make_environment
from e2e.hosts.sources import DEFECT, FAILS_AT, MENDED
from e2e.support.load import get
from e2e.support.processes import Processes, descendants, wait_for
from e2e.support.shop import ALL_AT_ONCE, Shop, environment, replacing
from e2e.support.stage import HubProcess, start_up
from e2e.support.terminal import HOMEOSTAT, PROPOSALS

T = TypeVar("T")

BAD = "/price?item=tea&coupon=spring10"
GOOD = "/price?item=tea&coupon=SPRING10"
SHORT_WATCH = "\n[observation]\nwindow_s = 600\nbaseline_s = 60\n" + ALL_AT_ONCE


class Host:
    """The host of one cell, in its repository, with its environment."""

    def __init__(self, cell: Cell, folder: Path) -> None:
        self.cell = cell
        self.folder = folder
        self.shop = Shop.found(folder / "host", files=cell.files, settings=None)
        self.processes = Processes()
        self._hub: HubProcess | None = None
        self._port = _free_port() if cell.http else 0
        self.url = f"http://127.0.0.1:{self._port}"

    def prepare(self) -> None:
        tests = ("pytest",) if self.cell.init_test == PYTEST_COMMAND else ()
        make_environment(self.shop.root / ".venv", self.cell.python, (*self.cell.packages, *tests))
        if self.cell.install:
            install_project(self.shop.root, editable=self.cell.install == "editable")

    def type(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [HOMEOSTAT, *arguments],
            cwd=self.shop.root,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def init(self) -> Any:
        """Type `homeostat init`, complete what it leaves open, and commit."""
        typed = self.type("init", "--json")
        assert typed.returncode == 0, typed.stderr
        settings = self.shop.root / "homeostat.toml"
        # The program is started beside the hub, at a port of its own: `homeostat up` would start it, too.
        found = settings.read_text().replace("\nstart_command", "\n# start_command")
        settings.write_text(found + SHORT_WATCH)
        self.shop.git("add", "homeostat.toml")
        self.shop.git("commit", "--quiet", "-m", "Put it under care")
        return json.loads(typed.stdout)

    def start(self) -> HubProcess:
        """Start the hub and, by `homeostat run`, the program; wait until every process of it is there."""
        log = self.folder / "hub.log"
        self._hub = hub = HubProcess(start_up(self.shop.root, log), self.shop, log)
        hub.wait_until_ready()
        (self.shop.root / "out").mkdir()
        command = shlex.split(self.cell.start.format(port=self._port))
        if command[0] == "python":
            command[0] = ".venv/bin/python"
        path = os.pathsep.join((str(self.shop.root / ".venv" / "bin"), os.environ["PATH"]))
        self.program = self.processes.start(
            [HOMEOSTAT, "run", "--", *command],
            cwd=self.shop.root,
            env=environment(PORT=str(self._port), PATH=path),
            log=self.folder / "program.log",
        )
        self.wait_for(self._serves, "the program to work", within_s=60)
        self.wait_for(self.all_attached, f"{self.cell.processes} attached processes")
        return hub

    def wait_for(self, condition: Callable[[], T], what: str, *, within_s: float = 40.0) -> T:
        """Wait; what the program said and who is attached is told when it was in vain."""
        try:
            return wait_for(condition, what=what, within_s=within_s, pause_s=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}; attached: {self.attached()}; it said: {self.said()}") from None

    def said(self) -> str:
        log = self.folder / "program.log"
        return log.read_text()[-3000:] if log.exists() else ""

    def attached(self) -> list[Any]:
        assert self._hub is not None
        return self._hub.connected()

    def all_attached(self) -> bool:
        assert self.program.poll() is None, self.said()
        return len(self.attached()) == self.cell.processes

    def _serves(self) -> bool:
        assert self.program.poll() is None, self.said()
        return bool(self.outcomes()) if not self.cell.http else get(self.url, GOOD)[0] == 200

    def outcomes(self) -> dict[int, str]:
        """Return what each process that works got for the coupon in small letters, last."""
        if not self.cell.http:
            found = {}
            for path in (self.shop.root / "out").iterdir():
                if not path.suffix:
                    found[int(path.name)] = path.read_text().split()[1]
            return found
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: get(self.url, BAD), range(16)))
            pids = {body["pid"] for status, body in pool.map(lambda _: get(self.url, "/pid"), range(16)) if status}  # type: ignore[index]
        by_status = {str(status) for status, _ in answers}
        priced = {body["pid"]: str(body["cents"]) for status, body in answers if status == 200}  # type: ignore[index]
        return {pid: priced.get(pid, "" if by_status == {"200"} else "error") for pid in pids} if by_status else {}

    def end(self) -> None:
        if self._hub is not None:
            self._hub.end()
        self.processes.end()


def wait_for_outcome(host: Host, wanted: str, *, of: set[int] | None) -> set[int]:
    """Wait until every process that works, all of `of` among them, gets `wanted`; return them."""
    seen: dict[int, str] = {}

    def there() -> bool:
        seen.update({pid: outcome for pid, outcome in host.outcomes().items() if outcome})
        living = {pid: outcome for pid, outcome in seen.items() if Path(f"/proc/{pid}").exists()}
        enough = set(living) == of if of is not None else len(living) == host.cell.serving
        return enough and set(living.values()) == {wanted}

    host.wait_for(there, f"{wanted} in {of or host.cell.serving}")
    return {pid for pid in seen if Path(f"/proc/{pid}").exists()}


def play(cell: Cell, folder: Path) -> None:
    """Play the whole loop, and check at each step what the cell says."""
    host = Host(cell, folder)
    try:
        host.prepare()
        _check_init(cell, host.init())
        hub = host.start()
        workers = wait_for_outcome(host, "KeyError" if not cell.http else "error", of=None)
        finding = host.wait_for(lambda: _finding(hub), "a finding")
        place = finding["location"]
        assert (place["path"], place["line"]) == (cell.where, FAILS_AT), finding
        assert "discount_percent" in place["function"], finding
        identity = _propose(host, hub, finding["finding_id"])
        _apply(host, hub, identity)
        workers = wait_for_outcome(host, "405", of=None if cell.restarts else workers)
        _revert(host, hub, identity)
        wait_for_outcome(host, "KeyError" if not cell.http else "error", of=None if cell.restarts else workers)
        _check_tools(host)
        hub.stop()
    finally:
        host.end()


def _check_init(cell: Cell, found: Any) -> None:
    shown = {key: shlex.join(found[key]) if found[key] else None for key in ("start_command", "test_command")}
    assert found["python"] == ".venv/bin/python", found
    assert shown == {"start_command": cell.init_start, "test_command": cell.init_test}, shown


def _finding(hub: HubProcess) -> Any:
    found = [item for item in hub.get("/api/findings")["findings"] if "KeyError" in item["title"]]
    return hub.get(f"/api/findings/{found[0]['finding_id']}") if found else None


def _propose(host: Host, hub: HubProcess, finding_id: str) -> str:
    diff = host.shop.diff(replacing(host.cell.where, DEFECT, MENDED))
    body = {"title": "Take coupons as typed", "rationale": "They are.", "diff": diff, "finding_id": finding_id}
    answer = hub.client.post(PROPOSALS, json=body)
    assert answer.status_code == 201, answer.text
    proved = hub.wait_for_state("Take coupons as typed", "awaiting_approval", "blocked")
    assert proved["state"] == "awaiting_approval", proved["state_reason"]
    identity = str(answer.json()["proposal_id"])
    proof = hub.get(f"{PROPOSALS}/{identity}")["proof"]
    assert proof["candidate"]["ran_from_candidate"] is True, proof
    return identity


def _apply(host: Host, hub: HubProcess, identity: str) -> None:
    digest = hub.get(f"{PROPOSALS}/{identity}")["change_digest"]
    body = hub.client.post("/api/selfimprove/apply", json={"proposal_id": identity, "change_digest": digest}).json()
    assert body["ok"], body
    if not host.cell.restarts:
        assert not body["restart_required"], (body, hub.get(f"{PROPOSALS}/{identity}"))


def _revert(host: Host, hub: HubProcess, identity: str) -> None:
    answer = hub.client.post(f"{PROPOSALS}/{identity}/revert", json={"reason": "only a test"})
    assert answer.status_code == 202, answer.text
    hub.wait_for_state("Take coupons as typed", "reverted")
    assert host.shop.git("status", "--porcelain") == ""


def _check_tools(host: Host) -> None:
    """No process below the program that is not one of it, like a resource tracker, was started with our words."""
    attached = {item["pid"] for item in host.attached()}
    for pid in set(descendants(host.program.pid)) - attached:
        try:
            started = Path(f"/proc/{pid}/environ").read_bytes()
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        assert b"HOMEOSTAT" not in started and b"homeostat" not in command, command


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])
