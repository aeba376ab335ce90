"""What an agent must know to attach: from a launch file, or from the state directory itself.

A launch file is JSON of mode 0600, named in `HOMEOSTAT_AGENT_LAUNCH`. It is read, never removed here:
what the program becomes by `exec`, and the workers it spawns later, read it again. The side that
wrote it removes it (`homeostat.adapters.agents.launch`).
"""

from __future__ import annotations

import json
import os
import stat

from homeostat_agent.facts import read_commit
from homeostat_agent.protocol import KEY_BYTES, launch_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAX_BYTES = 64 << 10
STATE_DIR_NAME = ".homeostat"


class Launch:
    """One launch: its key, where the hub's door is, and what the host is."""

    __slots__ = (
        "commit",
        "hmr_enabled",
        "hmr_mode",
        "key",
        "launch_id",
        "repository",
        "service_name",
        "socket_path",
        "state_dir",
        "supervisor",
    )

    def __init__(
        self,
        *,
        launch_id: str,
        key: bytes,
        socket_path: str,
        state_dir: str,
        repository: str,
        commit: str | None,
        service_name: str,
        hmr_enabled: bool,
        hmr_mode: str,
        supervisor: str | None = None,
    ) -> None:
        self.launch_id = launch_id
        self.key = key
        self.socket_path = socket_path
        self.state_dir = state_dir
        self.repository = repository
        self.commit = commit
        self.service_name = service_name
        self.hmr_enabled = hmr_enabled
        self.hmr_mode = hmr_mode
        self.supervisor = supervisor
        """Where the supervisor of this program listens; None when nobody supervises it."""

    def address(self) -> str:
        """Return where to dial now. A hub that came back may have another door: it says so in `hub.json`."""
        told = _hub_facts(self.state_dir).get("agent_socket")
        return told if isinstance(told, str) and told else self.socket_path


def read_launch(path: str) -> Launch:
    """Read a launch file. `ValueError` or `OSError`, with words, when it is not one that we may believe."""
    value = json.loads(read_private(path))
    try:
        key = bytes.fromhex(value["key"])
        launch = Launch(
            launch_id=value["launch_id"],
            key=key,
            socket_path=value["agent_socket"],
            state_dir=value["state_dir"],
            repository=value["repository"],
            # What is checked out now: a worker that is spawned late may run a later commit.
            commit=read_commit(value["repository"]) or value["commit"],
            service_name=value["service_name"],
            hmr_enabled=value["hmr_enabled"] is True,
            hmr_mode=value["hmr_mode"],
            supervisor=value.get("supervisor"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the launch file {path} is not one ({error!r})") from error
    if len(key) != KEY_BYTES:
        raise ValueError(f"the launch file {path} has no usable key")
    return launch


def _told_state_dir() -> str | None:
    return os.environ.get("HOMEOSTAT_STATE_DIR") or os.environ.get("AETHERRA_STATE_DIR")


def find_state_dir(given: str | os.PathLike[str] | None) -> str:
    """Return the state directory: the one that was named, or the nearest above the working directory."""
    named = os.fspath(given) if given is not None else _told_state_dir()
    if named:
        return os.path.abspath(named)
    here = os.getcwd()
    while True:
        candidate = os.path.join(here, STATE_DIR_NAME)
        if os.path.isdir(candidate):
            return candidate
        parent = os.path.dirname(here)
        if parent == here:
            raise ValueError(f"there is no {STATE_DIR_NAME}/ in or above {os.getcwd()}")
        here = parent


def launch_of_state_dir(state_dir: str) -> Launch:
    """Make a launch from the master key, for a program that attaches from inside.

    The hub says in `hub.json` which repository it cares for and whether HMR is on (`repository`,
    `hmr_enabled`, `hmr_mode`); `AETHERRA_HMR_ENABLED` and `AETHERRA_HMR_MODE` win over it. Without
    both, HMR is off.
    """
    master_key = read_private(os.path.join(state_dir, "keys", "agent.key"))
    if len(master_key) != KEY_BYTES:
        raise ValueError("keys/agent.key has not the right length")
    hub = _hub_facts(state_dir)
    repository = hub.get("repository")
    if not isinstance(repository, str) or not repository:
        repository = os.path.dirname(state_dir)
    enabled = os.environ.get("AETHERRA_HMR_ENABLED")
    mode = os.environ.get("AETHERRA_HMR_MODE", hub.get("hmr_mode"))
    launch_id = os.urandom(16).hex()
    return Launch(
        launch_id=launch_id,
        key=launch_key(master_key, launch_id),
        socket_path=os.path.join(state_dir, "run", "agent.sock"),
        state_dir=state_dir,
        repository=repository,
        commit=read_commit(repository),
        service_name=os.path.basename(repository) or "service",
        hmr_enabled=enabled in ("1", "true", "yes", "on") if enabled is not None else hub.get("hmr_enabled") is True,
        hmr_mode="aggressive" if mode in ("aggressive", "force") else "safe",
    )


def _hub_facts(state_dir: str) -> dict[str, Any]:
    """Return what `run/hub.json` says; empty while there is no hub."""
    try:
        with open(os.path.join(state_dir, "run", "hub.json"), "rb") as file:
            value = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_private(path: str) -> bytes:
    """Read a small file that only we can have written, and only we can read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise ValueError(f"{path} is not a file of ours with mode 0600")
        return file.read(_MAX_BYTES)
