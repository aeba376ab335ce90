"""What `homeostat run` gives a program so that the agent gets in: a launch file, and a folder on PYTHONPATH.

The folder, ``run/bootstrap/<digest>/``, holds a copy of the agent and a ``sitecustomize.py``, and
nothing else of ours: the hub's own packages never become importable in the host. It is a copy, named
by its content, so that a running program keeps its agent when Homeostat is upgraded.

The launch file is read again by whatever the program becomes by `exec` and by workers it spawns
later, so the agent cannot remove it. `homeostat run` calls `Launch.discard` when it waited for the
program to end; where it became the program by `exec`, nobody is left to do so, and the hub's
`sweep_launches` removes the file once its launcher has ended and no process of the launch is listed.

A Python started with ``-I``, ``-E`` or ``-S`` looks at neither, and runs without an agent.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import homeostat_agent
from homeostat_agent.boot import LAUNCH_VARIABLE
from homeostat_agent.launch_file import read_private
from homeostat_agent.protocol import KEY_BYTES, launch_key

from homeostat.adapters.agents.socket_place import choose_socket_path, private_folder
from homeostat.adapters.process_start import process_started
from homeostat.core.errors import Unavailable

SWEEP_AFTER_S = 60.0
"""A launch file younger than this may belong to a program that is still starting."""

_PREFIX = "launch-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One prepared launch. Nothing secret is in it: the key is in the file alone."""

    id: str
    file: Path
    bootstrap: Path

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return `base` with what lets the agent in. What `base` puts on PYTHONPATH stays, after ours."""
        environment = dict(base)
        theirs = base.get("PYTHONPATH")
        # An empty entry means the working directory, so none may come of an empty PYTHONPATH.
        environment["PYTHONPATH"] = os.pathsep.join((str(self.bootstrap), theirs)) if theirs else str(self.bootstrap)
        environment[LAUNCH_VARIABLE] = str(self.file)
        return environment

    def discard(self) -> None:
        """Remove the launch file: the program has ended. What still runs of it is not disturbed. Idempotent."""
        self.file.unlink(missing_ok=True)


def prepare_launch(
    *,
    state_dir: Path,
    repository: Path,
    commit: str | None,
    service_name: str,
    hmr_enabled: bool,
    hmr_mode: str,
    supervisor: Path | None = None,
) -> Launch:
    """Write a launch file for one program. `Unavailable` when there is no agents' key or no room for it.

    `supervisor` is where the program's supervisor listens, when it has one.
    """
    run = state_dir.absolute() / "run"
    private_folder(run)
    master_key = _master_key(state_dir)
    launch_id = secrets.token_hex(16)
    content = {
        "launch_id": launch_id,
        "key": launch_key(master_key, launch_id).hex(),
        "agent_socket": str(choose_socket_path(state_dir)),
        "state_dir": str(state_dir.absolute()),
        "repository": str(repository.absolute()),
        "commit": commit,
        "service_name": service_name,
        "hmr_enabled": hmr_enabled,
        "hmr_mode": hmr_mode,
        "supervisor": str(supervisor) if supervisor is not None else None,
        "launcher": {"pid": os.getpid(), "started": process_started(os.getpid())},
    }
    file = run / f"{_PREFIX}{launch_id}.json"
    try:
        bootstrap = place_bootstrap(run / "bootstrap")
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
    except OSError as error:
        file.unlink(missing_ok=True)
        raise Unavailable(
            "launch-not-written", f"the launch below {run} cannot be written: {error.strerror or error}"
        ) from error
    return Launch(id=launch_id, file=file, bootstrap=bootstrap)


def sweep_launches(state_dir: Path, *, in_use: Collection[str]) -> int:
    """Remove launch files whose launcher has ended and whose launch is not in `in_use`; return how many.

    `in_use` is `AgentGateway.launch_ids()`. A program that stands apart (a daemon) and is attached
    keeps its file by that; call this only when agents have had time to dial in.
    """
    removed = 0
    for file in (state_dir / "run").glob(f"{_PREFIX}*.json"):
        if file.stem.removeprefix(_PREFIX) in in_use or _may_be_needed(file):
            continue
        file.unlink(missing_ok=True)
        removed += 1
    return removed


def place_bootstrap(folder: Path) -> Path:
    """Return the folder to put on PYTHONPATH, made when this version of the agent is not there yet."""
    package = Path(homeostat_agent.__file__).parent
    sources = sorted(path for path in package.rglob("*.py") if path.is_file())
    wanted = _digest(package, sources)
    private_folder(folder)
    target = folder / wanted[:16]
    if _holds(target, wanted):
        return target
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=folder))
    try:
        for source in sources:
            place = making / "homeostat_agent" / source.relative_to(package)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
        shutil.copyfile(package / "bootstrap" / "sitecustomize.py", making / "sitecustomize.py")
        if target.exists():
            # Not what its name says: put aside whole, because a program may be reading it.
            target.rename(making.with_name(making.name + ".damaged"))
        with contextlib.suppress(OSError):  # another launch was faster: its copy is the same
            making.rename(target)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    if not _holds(target, wanted):
        raise Unavailable("launch-not-written", f"the agent's copy in {target} is not whole")
    return target


def _holds(target: Path, wanted: str) -> bool:
    package = target / "homeostat_agent"
    if not package.is_dir() or not (target / "sitecustomize.py").is_file():
        return False
    own = (package / "bootstrap" / "sitecustomize.py").read_bytes()
    sources = sorted(path for path in package.rglob("*.py") if path.is_file())
    return _digest(package, sources) == wanted and (target / "sitecustomize.py").read_bytes() == own


def _digest(package: Path, sources: Collection[Path]) -> str:
    whole = hashlib.sha256()
    for path in sources:
        content = path.read_bytes()
        whole.update(f"{path.relative_to(package).as_posix()}\0{len(content)}\0".encode())
        whole.update(content)
    return whole.hexdigest()


def _master_key(state_dir: Path) -> bytes:
    path = state_dir / "keys" / "agent.key"
    try:
        key = read_private(str(path))
    except FileNotFoundError as error:
        raise Unavailable(
            "agent-key-unusable", f"there is no {path}", hint="start the hub first: homeostat up"
        ) from error
    except (OSError, ValueError) as error:
        raise Unavailable("agent-key-unusable", f"{path} cannot be used: {error}") from error
    if len(key) != KEY_BYTES:
        raise Unavailable("agent-key-unusable", f"{path} has {len(key)} bytes, not {KEY_BYTES}")
    return key


def _may_be_needed(file: Path) -> bool:
    try:
        if time.time() - file.stat().st_mtime < SWEEP_AFTER_S:
            return True
        launcher = json.loads(read_private(str(file)))["launcher"]
        started = process_started(int(launcher["pid"]))
        return started is not None and started == str(launcher["started"])
    except FileNotFoundError:
        return True  # removed by its owner at this moment
    except (OSError, ValueError, KeyError, TypeError):
        return False  # no agent would believe it either
