"""A real hub that ends its own process with SIGKILL at a chosen call of one of its ports.

It is wired by the product itself (`HubServer`, with `wrap` around the ports) and runs in a process of
its own.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from e2e.support.forked import Forked, begin
from e2e.support.processes import descendants
from e2e.support.shop import environment

NONE: Mapping[str, str] = MappingProxyType({})

EFFECTS: Mapping[str, frozenset[str]] = {
    "proposals": frozenset({"insert", "save"}),
    "records": frozenset({"mark_recorded"}),
    "findings": frozenset({"put_findings"}),
    "ledger": frozenset({"append"}),
    "candidates": frozenset({"commit", "delete"}),
    "record_branch": frozenset({"publish"}),
    "deployed": frozenset({"prepare", "advance", "retreat"}),
    "backups": frozenset({"save"}),
    "prover": frozenset({"prove"}),
    "live": frozenset({"swap", "rollback"}),
    "start": frozenset({"submitted", "apply_asked", "revert_asked"}),
}
"""Every call of a port that changes something outside the hub's memory. Telemetry and tokens are left out."""


@dataclass(frozen=True)
class Moment:
    """When the hub dies: at the n-th such call since it was armed, before, after or amid its effect."""

    call: str
    """``port.method``, or ``deployed.step NAME`` for a step inside the move of branch and checkout."""

    nth: int = 1
    when: str = "after"

    def __str__(self) -> str:
        return f"{self.when}-{self.call.replace(' ', '-').replace('/', '-')}-{self.nth}"


class _Fate:
    def __init__(self, moment: Moment | None, armed: Path, trace: Path) -> None:
        self._moment = moment
        self._armed = armed
        self._trace = trace
        self._count = 0
        self._lock = threading.Lock()

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        when = self._when(name)
        if when == "before":
            _die()
        if when == "amid":
            threading.Thread(target=_die_amid_tests, daemon=True).start()
        result = call()
        if when == "after":
            _die()
        return result

    def _when(self, name: str) -> str:
        if not self._armed.exists():
            return ""
        with self._lock:
            with self._trace.open("a") as trace:
                trace.write(f"{name}\n")
            if self._moment is None or name != self._moment.call:
                return ""
            self._count += 1
            return self._moment.when if self._count == self._moment.nth else ""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_amid_tests() -> None:
    """Wait until the host's tests run in the sandbox, and die."""
    while True:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(OSError):
                if b"unittest" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    _die()
        time.sleep(0.002)


class _Mortal:
    def __init__(self, name: str, port: Any, fate: _Fate) -> None:
        self._name = name
        self._port = port
        self._fate = fate

    def __getattr__(self, method: str) -> Any:
        if method == "holds":
            return lambda: False  # this hub will not live to use what the self-test finds
        real = getattr(self._port, method)
        if method not in EFFECTS[self._name]:
            return real
        return lambda *args, **options: self._fate.around(f"{self._name}.{method}", lambda: real(*args, **options))


def _run_mortal(
    root: str, log: str, armed: str, trace: str, moment: Moment | None, variables: Mapping[str, str]
) -> None:
    begin(environment=environment(), out=Path(log), err=Path(log))
    from homeostat.adapters.git.deployed import GitDeployedTree
    from homeostat.adapters.git.repository import open_repository
    from homeostat.adapters.settings import load_settings
    from homeostat.flows.deps import Deps
    from homeostat.hub.serving import HubServer

    logging.basicConfig(level=logging.WARNING)
    repository = Path(root)
    fate = _Fate(moment, Path(armed), Path(trace))

    def wrap(deps: Deps) -> Deps:
        tree = GitDeployedTree(
            open_repository(repository),
            on_step=lambda step: fate.around(f"deployed.step {step}", lambda: None),
        )
        ports = {item.name: getattr(deps, item.name) for item in fields(deps) if item.name in EFFECTS}
        ports["deployed"] = tree
        mortal: dict[str, Any] = {name: _Mortal(name, port, fate) for name, port in ports.items()}
        return replace(deps, **mortal)

    settings = load_settings(repository, variables).settings
    settings = replace(settings, hub=replace(settings.hub, port=0))
    server = HubServer(settings=settings, repository=repository, state_dir=repository / ".homeostat", wrap=wrap)
    server.run(lambda: None)


def start_mortal(
    root: Path, log: Path, *, armed: Path, trace: Path, moment: Moment | None, variables: Mapping[str, str] = NONE
) -> Forked:
    """Start a hub that dies at `moment`, once the file `armed` is there; `variables` are settings of its own."""
    return Forked(_run_mortal, str(root), str(log), str(armed), str(trace), moment, dict(variables))
