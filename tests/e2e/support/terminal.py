"""A user's terminal in the shop's repository: the `homeostat` command, typed and read as a user does."""

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from e2e.support.forked import homeostat
from e2e.support.load import get
from e2e.support.processes import Processes, Started, is_running, start, wait_for
from e2e.support.shop import Edit, Shop, environment

PROPOSALS = "/api/selfimprove/proposals"
HOMEOSTAT = Path(sys.executable).with_name("homeostat")


@dataclass(frozen=True)
class Typed:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Hub:
    """A `homeostat up` that a test has started."""

    process: Started
    url: str
    log: Path

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


class Terminal:
    """One user at one repository. Ends what it started when the test calls `close`.

    `installed` is the command's file; without it, its processes are forked (`e2e.support.forked`).
    """

    def __init__(self, shop: Shop, scratch: Path, *, installed: Path | None = None) -> None:
        self.shop = shop
        self.scratch = scratch
        self.processes = Processes()
        self._installed = installed
        self._count = 0

    def close(self) -> None:
        self.processes.end()

    def type(self, *arguments: str, env: Mapping[str, str] | None = None, within_s: float = 60.0) -> Typed:
        """Type `homeostat ARGUMENTS` and wait for its end."""
        self._count += 1
        out, err = (self.scratch / f"typed-{self._count}.{name}" for name in ("out", "err"))
        process = self._start(arguments, environment(**(env or {})), out, err)
        try:
            code = process.wait(within_s)
        finally:
            process.kill()
        return Typed(code, out.read_text(), err.read_text())

    def ok(self, *arguments: str, env: Mapping[str, str] | None = None) -> Typed:
        """Type a command that must succeed."""
        typed = self.type(*arguments, env=env)
        assert typed.code == 0, f"homeostat {' '.join(arguments)}: {typed}"
        return typed

    # Long-running commands

    def start(self, *arguments: str, name: str = "hub") -> tuple[Started, Path]:
        """Start `homeostat ARGUMENTS` in the background; its output goes to a file."""
        self._count += 1
        log = self.scratch / f"{name}-{self._count}.log"
        process = self._start(arguments, environment(), log, log)
        self.processes.adopt(process)
        return process, log

    def _start(self, arguments: Sequence[str], env: dict[str, str], out: Path, err: Path) -> Started:
        folder = self.shop.root
        if self._installed:
            return start([self._installed, *arguments], cwd=folder, env=env, out=out, err=err)
        return homeostat(arguments, cwd=folder, env=env, out=out, err=err)

    def up(self, *command: str, port: int = 0) -> Hub:
        """Start `homeostat up`, with the program when one is named, and wait until it says it is ready."""
        process, log = self.start("up", "--port", str(port), *(("--", *command) if command else ()))
        hub_file = self.shop.state_dir / "run" / "hub.json"

        def address() -> str | None:
            assert process.poll() is None, f"homeostat up ended with {process.returncode}: {log.read_text()}"
            try:
                told = json.loads(hub_file.read_text())
            except (OSError, ValueError):
                return None
            return str(told["url"]) if told["pid"] == process.pid and "is ready" in log.read_text() else None

        url = wait_for(address, what="homeostat up to be ready")
        assert url is not None
        return Hub(process, url, log)

    def program(self) -> tuple[str, ...]:
        """Return the command line of the shop, which tells its port in a file of its own."""
        self._count += 1
        self.port_file = self.scratch / f"port-{self._count}"
        return (sys.executable, "-m", "shop", str(self.port_file))

    def shop_url(self) -> str:
        """Return where the shop answers, once it does."""

        def answering() -> str | None:
            if not self.port_file.exists():
                return None
            url = f"http://127.0.0.1:{self.port_file.read_text()}"
            return url if get(url, "/health")[0] == 200 else None

        url = wait_for(answering, what="the shop to answer")
        assert url is not None
        return url

    def run_shop(self) -> Started:
        """Start the shop through `homeostat run`, beside a hub that is up."""
        process, _ = self.start("run", "--", *self.program(), name="shop")
        return process

    # The hub over HTTP

    def token(self) -> str:
        return (self.shop.state_dir / "keys" / "owner.token").read_text().strip()

    def client(self, hub_url: str, token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token or self.token()}"}
        # It is plain HTTP: reading the machine's certificates takes longer than most questions.
        return httpx.Client(base_url=hub_url, headers=headers, timeout=60, trust_env=False, verify=False)

    def get(self, hub: Hub, path: str) -> Any:
        with self.client(hub.url) as client:
            answer = client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def proposal(self, hub: Hub, identity: str) -> Any:
        return self.get(hub, f"{PROPOSALS}/{identity}")

    def wait_for_state(self, hub: Hub, identity: str, *states: str, within_s: float = 60.0) -> Any:
        """Wait until a proposal is in one of these states and return it."""

        def there() -> Any:
            body = self.proposal(hub, identity)
            return body if body["state"] in states else None

        try:
            return wait_for(there, what=f"proposal {identity} to be {states}", within_s=within_s, pause_s=0.1)
        except AssertionError as error:
            body = self.proposal(hub, identity)
            told = {name: body[name] for name in ("log", "observation", "canary")}
            raise AssertionError(f"{error}; it is {told}\n{hub.log.read_text()}") from None

    def wait_for_agents(self, hub: Hub, count: int = 1) -> list[Any]:
        """Wait until so many processes are attached and return them."""

        def attached() -> list[Any] | None:
            found = [item for item in self.get(hub, "/api/processes")["processes"] if item["connected"]]
            return found if len(found) == count else None

        found = wait_for(attached, what=f"{count} attached processes")
        assert found is not None
        return found

    def finding(self, hub: Hub) -> Any:
        """Wait for the first finding and return it."""
        return wait_for(lambda: (self.get(hub, "/api/findings")["findings"] or [None])[0], what="a finding")

    # Proposals, as a person hands them in

    def propose(self, edit: Edit, title: str, *more: str) -> Any:
        """Hand a patch in with `homeostat propose` and return what validation made of it."""
        self._count += 1
        patch = self.scratch / f"change-{self._count}.patch"
        patch.write_text(self.shop.diff(edit))
        typed = self.type(
            "propose", "--diff", str(patch), "--title", title, "--rationale", f"Because: {title}.", "--json", *more
        )
        assert typed.code in (0, 1), typed
        return typed.json


def wait_until_gone(*pids: int, within_s: float = 15.0) -> None:
    wait_for(lambda: not any(map(is_running, pids)), what=f"the end of {pids}", within_s=within_s)
