"""Try to break out of each kind of sandbox on this machine, and say which kinds may be used.

For each attempt a control run, outside and under the same uid, shows whether it would have worked:
a check that holds says whether it was the sandbox that held it.
"""

import ctypes
import fcntl
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from homeostat.adapters.sandbox import escape_probe, innermost
from homeostat.adapters.sandbox.folder import proof_folder, sweep_stale_folders
from homeostat.adapters.sandbox.identity import unprivileged_uid, write_identity
from homeostat.adapters.sandbox.interpreter import HostInterpreter, read_interpreter
from homeostat.adapters.sandbox.layout import Site, lay_out, seen_from_inside, shown_to_all
from homeostat.adapters.sandbox.run import End, Ended, Zygote, run_in_sandbox
from homeostat.adapters.sandbox.spec import Kind, Limits, SandboxSpec, is_within
from homeostat.core.errors import HomeostatError, InvalidInput
from homeostat.model.verdict import Denied
from homeostat.ports.proving import Isolation, IsolationCheck

_LIMITS = Limits(timeout_s=20.0, memory_mb=128, tree_memory_mb=512, max_processes=16, file_mb=64)
_TOO_MUCH_MEMORY_MB = 256
_SHORT_S = 0.5
_REPOSITORY = "/homeostat-selftest/repository"
_IDENTITY = "identity"
_MAX_OUTPUT = 60_000
_VICTIM_BYTES = b"untouched"
_KEY_OF_MEMORY = 0x686F6D65
_IPC_CREAT, _IPC_RMID = 0o1000, 0
_ALLOWED_ENV = (
    "PATH HOME TMPDIR USER LOGNAME LANG TZ PYTHONDONTWRITEBYTECODE PYTHONHASHSEED PYTHONNOUSERSITE PWD LC_CTYPE"
)
_OTHER_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")
_REMEDIES = {
    Kind.BUBBLEWRAP: "install bubblewrap (Debian: apt-get install bubblewrap) and allow user namespaces",
    Kind.NAMESPACES: "allow user namespaces to ordinary users, and use Linux 5.12 or later",
    Kind.LANDLOCK: "use Linux 5.13 or later with Landlock among its security modules (lsm=landlock,...)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Targets:
    """What the probe tries to reach. All of it belongs to the uid that the probe runs under."""

    folder: Path
    facts: Mapping[str, Any]
    control: Mapping[str, tuple[bool, str]]
    uid: int | None
    landlock_abi: int | None


def examine_isolation(
    *, state_folder: Path | None, kinds: Sequence[Kind] = tuple(Kind), landlock_abi: int | None = None
) -> tuple[Isolation, ...]:
    """Return what each kind is worth here, usable ones first and otherwise in order of preference.

    `state_folder` is the hub's own, which must not show; `landlock_abi` pretends an older kernel.
    Call in a process without other threads.
    """
    sweep_stale_folders()
    with ExitStack() as stack:
        place = stack.enter_context(proof_folder())
        targets = stack.enter_context(_targets(place, state_folder, landlock_abi))
        zygote = stack.enter_context(_zygote(place))  # the last: it is given nothing that was opened before
        # One after the other: they share a uid, and with it the count of processes.
        found = [_examine(kind, targets, zygote) for kind in kinds]
    return tuple(sorted(found, key=lambda isolation: not isolation.usable))


def _zygote(place: Path) -> Zygote:
    """Start a zygote as a proof does, with what its runs are shown mounted ahead."""
    root = place / "root"
    root.mkdir()
    python = _interpreter(sys.executable)
    shown = shown_to_all(
        python, repository=_REPOSITORY, identity=str(place / _IDENTITY), limits=_LIMITS, root=str(root)
    )
    return Zygote(shown)


def _examine(kind: Kind, targets: _Targets, zygote: Zygote) -> Isolation:
    try:
        checks = _checks_of(kind, targets, zygote)
    except (HomeostatError, OSError) as error:
        return Isolation(
            name=kind.value,
            usable=False,
            checks=(IsolationCheck(name="starts", held=False, detail=str(error)[:500]),),
            remedy=(error.hint if isinstance(error, HomeostatError) else None) or _REMEDIES[kind],
        )
    usable = all(check.held for check in checks)
    return Isolation(name=kind.value, usable=usable, checks=checks, remedy="" if usable else _REMEDIES[kind])


def _checks_of(kind: Kind, targets: _Targets, zygote: Zygote) -> tuple[IsolationCheck, ...]:
    with ExitStack() as stack:
        folders = [targets.folder.parent / f"{kind}-{which}" for which in ("probe", "endless")]
        for folder in folders:
            folder.mkdir()
            folder.chmod(0o711)
        victims = _Victims(targets, kind)
        probe, lock = _spec(kind, folders[0], targets, victims)
        endless, _ = _spec(kind, folders[1], targets, victims, timeout_s=_SHORT_S)
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=2))
        runs = [pool.submit(run_in_sandbox, spec, zygote=zygote, output_chars=_MAX_OUTPUT) for spec in (endless, probe)]
        timed, probed = (run.result() for run in runs)
        outcomes = _outcomes(probed)
        return (
            *(_check(name, outcomes.get(name), targets.control) for name in targets.control),
            victims.check(),
            _lock_is_free(lock),
            IsolationCheck(name="time_limit", held=timed.end is End.TIME, detail=timed.end.value),
        )


def _outcomes(ended: Ended) -> Mapping[str, tuple[bool, str]]:
    if ended.end is End.SETUP:
        raise InvalidInput("sandbox-setup", ended.message or "the sandbox could not be made")
    try:
        found = json.loads(ended.output_tail)
    except ValueError as error:
        raise InvalidInput(
            "sandbox-setup", f"the probe did not report ({ended.end}, {ended.code}): {ended.output_tail[-300:]}"
        ) from error
    return {name: (bool(through), str(detail)) for name, (through, detail) in found.items()}


def _check(name: str, outcome: tuple[bool, str] | None, control: Mapping[str, tuple[bool, str]]) -> IsolationCheck:
    if outcome is None:
        return IsolationCheck(name=name, held=False, detail="the probe did not report it")
    through, detail = outcome
    if name == "write_outside":
        through = False  # judged by `_Victims`: some calls are accepted without effect
    outside = "works outside" if control[name][0] else f"outside: {control[name][1]}"
    return IsolationCheck(name=name, held=not through, detail=f"{detail}; {outside}"[:300])


def _lock_is_free(lock: Path) -> IsolationCheck:
    """A daemonised process of the run held this lock; it is free once that process is dead."""
    name = "no_process_survives"
    try:
        with lock.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return IsolationCheck(name=name, held=False, detail="the process to be ended never started")
    except BlockingIOError:
        return IsolationCheck(name=name, held=False, detail="a daemonised process lives on")
    return IsolationCheck(name=name, held=True, detail="a daemonised process was ended")


class _Victims:
    """A file and folder that the sandboxed uid may write outside, to see that it could not."""

    def __init__(self, targets: _Targets, kind: Kind) -> None:
        self.folder = targets.folder / f"victims-{kind.value}"
        self.folder.mkdir()
        self.file = self.folder / "file"
        self.file.write_bytes(_VICTIM_BYTES)
        # As root the sandbox's uid owns nothing outside, but may write where everybody may.
        self.folder.chmod(0o777)
        self.file.chmod(0o666)
        self._before = self._facts()

    def _facts(self) -> tuple[object, ...]:
        status = self.file.lstat() if self.file.exists() else None
        return (
            sorted(path.name for path in self.folder.iterdir()),
            status and (status.st_mode, status.st_size, status.st_mtime_ns, status.st_nlink),
        )

    def check(self) -> IsolationCheck:
        held = self._facts() == self._before
        detail = "files outside are untouched" if held else f"changed to {self._facts()}"
        return IsolationCheck(name="files_outside_unchanged", held=held, detail=detail)


def _spec(
    kind: Kind, folder: Path, targets: _Targets, victims: _Victims, *, timeout_s: float | None = None
) -> tuple[SandboxSpec, Path]:
    """Return a run of the probe, or of an endless program where a time limit is given, and its lock."""
    refusals: list[Denied] = []
    for python in dict.fromkeys((sys.executable, *_OTHER_PYTHONS)):
        if not Path(python).exists():
            continue
        place = folder / str(len(refusals))
        place.mkdir()
        site = _site(place, identity=targets.folder.parent / _IDENTITY)
        seen = seen_from_inside(kind, site)
        lock = Path(site.results, "lock")
        facts = {
            **targets.facts,
            "victim_file": str(victims.file),
            "victim_folder": str(victims.folder),
            "lock": f"{seen.results}/lock",
        }
        words = ["python", "-I", "-S", f"{seen.probe}/escape_probe.py", json.dumps(facts)]
        limits = _LIMITS
        if timeout_s is not None:
            words = ["python", "-I", "-S", "-c", "import time; time.sleep(600)"]
            limits = replace(_LIMITS, timeout_s=timeout_s)
        laid_out = lay_out(
            kind,
            site=site,
            interpreter=_interpreter(python),
            command=tuple(words),
            extra_env={},
            limits=limits,
            uid=targets.uid,
        )
        if isinstance(laid_out, SandboxSpec):
            return replace(laid_out, landlock_abi=targets.landlock_abi), lock
        refusals.append(laid_out)
    raise InvalidInput(refusals[0].code, refusals[0].reasons[0], hint=refusals[0].hint)


def _site(place: Path, *, identity: Path) -> Site:
    place.chmod(0o711)
    for name in ("tree", "results", "private", "probe", "staging"):
        (place / name).mkdir(mode=0o755)
    shutil.copy(escape_probe.__file__, place / "probe" / "escape_probe.py")
    return Site(
        repository=_REPOSITORY,
        tree=str(place / "tree"),
        results=str(place / "results"),
        private=str(place / "private"),
        probe=str(place / "probe"),
        identity=str(identity),
        staging=str(place / "staging"),
    )


@contextmanager
def _targets(place: Path, state_folder: Path | None, landlock_abi: int | None) -> Iterator[_Targets]:
    uid = unprivileged_uid()
    write_identity(place / _IDENTITY, uid)
    with ExitStack() as stack:
        folder = place / "targets"
        folder.mkdir()
        folder.chmod(0o755)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(folder / "hub.sock"))
        unix.listen()
        datagram = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        datagram.bind(str(folder / "log.sock"))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        name = f"homeostat-{os.urandom(8).hex()}"
        abstract.bind("\0" + name)
        abstract.listen()
        for path in ("hub.sock", "log.sock"):
            (folder / path).chmod(0o777)
        secret = folder / "secret"
        secret.write_text(os.urandom(8).hex())
        secret.chmod(0o644)
        home = Path.home()
        facts = {
            "control": False,
            "same_user": uid is None,
            "port": listener.getsockname()[1],
            "unix_socket": str(folder / "hub.sock"),
            "unix_datagram": str(folder / "log.sock"),
            "abstract": name,
            "secret": str(secret),
            "state": str(state_folder or folder),
            "home": str(home),
            "home_names": _names_to_hide(home),
            "process": stack.enter_context(_bystander(uid)),
            "shared_memory_key": stack.enter_context(_shared_memory()),
            "environment": _ALLOWED_ENV.split(),
            "max_processes": _LIMITS.max_processes,
            "memory_mb": _TOO_MUCH_MEMORY_MB,
            "file_mb": _LIMITS.file_mb,
        }
        control = _control_run(folder, facts, uid)
        yield _Targets(folder=folder, facts=facts, control=control, uid=uid, landlock_abi=landlock_abi)


def _names_to_hide(home: Path) -> list[str]:
    """Return what lies in the home, without the folders that lead to an interpreter we show."""
    shown = [path for pair in _interpreter(sys.executable).folders for path in pair]
    try:
        names = os.listdir(home)  # noqa: PTH208
    except OSError:
        return []
    return [name for name in names if not any(is_within(path, f"{home}/{name}") for path in shown)]


@functools.cache
def _interpreter(python: str) -> HostInterpreter:
    return read_interpreter(python)


@contextmanager
def _bystander(uid: int | None) -> Iterator[int]:
    """Run a process of the same uid that has nothing to do with the sandbox."""
    drop: dict[str, Any] = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    process = subprocess.Popen(
        ["/bin/sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/", env={}, **drop
    )
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


@contextmanager
def _shared_memory() -> Iterator[int]:
    """Make a segment of System V memory that everyone may use, and yield its key."""
    libc = ctypes.CDLL(None, use_errno=True)
    key = _KEY_OF_MEMORY + os.getpid()
    segment = libc.shmget(ctypes.c_int(key), ctypes.c_size_t(4096), _IPC_CREAT | 0o666)
    try:
        yield key
    finally:
        if segment >= 0:
            libc.shmctl(segment, _IPC_RMID, None)


def _control_run(folder: Path, facts: Mapping[str, Any], uid: int | None) -> Mapping[str, tuple[bool, str]]:
    """Make every attempt outside, in a child that has become the sandbox's uid but nothing more."""
    place = folder / "control"
    place.mkdir()
    victim = place / "file"
    victim.write_bytes(_VICTIM_BYTES)
    report = folder / "control.json"
    report.touch()
    if uid is not None:
        for path in (place, victim, report):
            os.chown(path, uid, uid)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if uid is not None:
                innermost.become(uid)
            os.chdir(place)
            wanted = {**facts, "control": True, "victim_file": str(victim), "victim_folder": str(place)}
            report.write_text(json.dumps(escape_probe.attempt_all(wanted)))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise InvalidInput("sandbox-control", "the self-test's control run outside the sandbox failed")
    found = json.loads(report.read_text())
    return {name: (bool(through), str(detail)) for name, (through, detail) in found.items()}
