"""Compose what one run may see: the system and the host's Python to read, the checkout to write.

Where mounts are possible the checkout stands at the repository's own path, so that an editable
install or an absolute ``.pth`` line of the host loads the code under test. Where they are not, the
paths stay what they are and such lines are answered with ``PYTHONPATH``.
"""

import functools
import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from homeostat.adapters.sandbox.identity import NAME
from homeostat.adapters.sandbox.interpreter import HostInterpreter
from homeostat.adapters.sandbox.spec import Bind, Kind, Limits, SandboxSpec, Shown, is_within
from homeostat.model.verdict import Denied

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store")
_ETC = (
    "alternatives ca-certificates crypto-policies debian_version ethers fonts gai.conf host.conf hosts inputrc "
    "ld.so.cache ld.so.conf ld.so.conf.d localtime magic mime.types networks nsswitch.conf os-release pki "
    "protocols redhat-release rpc services ssl/certs ssl/openssl.cnf timezone"
)
"""Of /etc only what libraries read; not one file that may hold a secret."""

_NOWHERE = ("/", "/proc", "/sys", "/dev", "/run", "/usr", "/etc", "/bin", "/lib")
_INSIDE = "/run/homeostat"
_HOME = "/tmp/home"  # noqa: S108 - the sandbox's own /tmp
_TEMPORARY = "tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The folders of one run, all of them ours and empty but for `tree`, `probe` and `identity`."""

    repository: str
    """Real path of the host's repository; never shown itself."""

    tree: str
    """The checkout to run in."""

    results: str
    private: str
    """Home, and temporary files where there is no private /tmp."""

    probe: str
    identity: str
    """Holds what `identity.write_identity` wrote; several runs of one user may share it."""

    staging: str
    """Where a root is put together that was not made ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Where sandboxed code finds the folders of its site."""

    root: str
    results: str
    probe: str
    home: str
    tmp: str


def _depth(bind: Bind) -> tuple[int, str]:
    return bind.target.count("/"), bind.target


def seen_from_inside(kind: Kind, site: Site) -> Seen:
    """Return the paths of a site as they are inside this kind of sandbox."""
    if kind.mounts:
        return Seen(
            root=site.repository,
            results=f"{_INSIDE}/results",
            probe=f"{_INSIDE}/probe",
            home=_HOME,
            tmp="/tmp",  # noqa: S108
        )
    return Seen(
        root=site.tree, results=site.results, probe=site.probe, home=site.private, tmp=f"{site.private}/{_TEMPORARY}"
    )


def lay_out(
    kind: Kind,
    *,
    site: Site,
    interpreter: HostInterpreter,
    command: tuple[str, ...],
    extra_env: Mapping[str, str],
    limits: Limits,
    uid: int | None,
) -> SandboxSpec | Denied:
    """Return the run as a spec, or why this kind of sandbox cannot hold it.

    Makes mount points in the site's `tree`, or a folder in `private`, and hands what may be written
    to `uid`; touches nothing else. On a disk each file that is made costs a millisecond and more.
    """
    repository = site.repository
    if repository in _NOWHERE:
        return Denied(code="repository-place", reasons=(f"a repository cannot be proved at {repository}",))
    seen = seen_from_inside(kind, site)
    exposed = _exposed(interpreter, repository)
    inside = [path for path, _ in exposed if is_within(path, repository)]
    refused = _check_mount_points(site, inside) if kind.mounts else _check_in_place(site, exposed, uid)
    if refused is not None:
        return refused
    binds = [Bind(source=real, target=path) for path, real in exposed]
    binds.append(Bind(source=site.probe, target=seen.probe))
    binds.append(Bind(source=site.tree, target=seen.root, writable=True))
    binds.append(Bind(source=site.results, target=seen.results, writable=True))
    Path(site.private).chmod(0o700)
    if kind.mounts:
        binds += _identity_files(site.identity)
        binds.append(Bind(source=site.private, target=seen.home, writable=True))
    else:
        Path(seen.tmp).mkdir(mode=0o700)
        binds = [Bind(source=bind.source, target=bind.source, writable=bind.writable) for bind in binds]
        binds.append(Bind(source=site.private, target=site.private, writable=True))
    if uid is not None:
        _hand_over(uid, site.tree, site.results, site.private)
    return SandboxSpec(
        kind=kind,
        argv=tuple(_command(kind, command, site, interpreter, inside)),
        cwd=seen.root,
        env={**_environment(seen, interpreter), **extra_env, **_python_path(kind, site, interpreter, extra_env)},
        binds=tuple(sorted(binds, key=_depth)),
        limits=limits,
        staging=site.staging,
        uid=uid,
    )


def shown_to_all(interpreter: HostInterpreter, *, repository: str, identity: str, limits: Limits, root: str) -> Shown:
    """Return what every run of this interpreter on this repository is shown, to be mounted ahead at `root`.

    It is part of what `lay_out` says for a kind with mounts and this `identity`: all but the folders of the run.
    """
    own = (repository, _INSIDE, _HOME)
    binds = [
        Bind(source=real, target=path)
        for path, real in _exposed(interpreter, repository)
        if not any(is_within(path, place) for place in own)
    ]
    binds += _identity_files(identity)
    return Shown(root=root, binds=tuple(sorted(binds, key=_depth)), temporary_mb=limits.temporary_mb)


@functools.lru_cache(maxsize=16)
def _exposed(interpreter: HostInterpreter, repository: str) -> list[tuple[str, str]]:
    """Return (seen, real) of all that may be read, without what another entry covers already."""
    chosen = list(_system())
    from_checkout = {path for path in interpreter.import_roots if is_within(path, repository)}
    for path, real in interpreter.folders:
        if path in from_checkout:
            continue
        if Path(path).is_dir() and (_too_broad(path, repository) or _too_broad(real, repository)):
            continue
        # Seen by its own name too: scripts may have been written for either.
        for name in dict.fromkeys((real, path)):
            if not any(is_within(name, have) for have, _ in chosen):
                chosen.append((name, real))
    return chosen


@functools.cache
def _system() -> tuple[tuple[str, str], ...]:
    """Return (seen, real) of what every run may read of the system, looked up once in a process."""
    places = (*_SYSTEM, *(f"/etc/{name}" for name in _ETC.split()))
    return tuple((path, os.path.realpath(path)) for path in places if Path(path).exists())


def _too_broad(path: str, repository: str) -> bool:
    """Tell whether showing this folder would show the user's home, or the original repository."""
    return any(is_within(kept, path) for kept in (repository, *_homes()))


def _homes() -> tuple[str, ...]:
    homes = [os.environ.get("HOME", "")]
    with suppress(KeyError):  # a uid without a name, as in many containers
        homes.append(pwd.getpwuid(os.getuid()).pw_dir)
    return tuple(os.path.realpath(home) for home in homes if home not in ("", "/"))


def _check_mount_points(site: Site, inside: list[str]) -> Denied | None:
    """Make a place in the checkout for each folder that comes from the original repository.

    The checkout is the candidate's: a symlink in it must not lead our `mkdir` anywhere.
    """
    for path in inside:
        place = Path(site.tree)
        for part in Path(path).relative_to(site.repository).parts:
            place = place / part
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                return Denied(
                    code="mount-point",
                    reasons=(f"the change puts something else where the host's Python lives: {path}",),
                )
            place.mkdir(exist_ok=True)
    return None


def _check_in_place(site: Site, exposed: list[tuple[str, str]], uid: int | None) -> Denied | None:
    """Without mounts the original repository must not show, and another uid must reach everything."""
    hint = "install bubblewrap, or allow user namespaces, so that the sandbox can have mounts"
    for path, _ in exposed:
        if is_within(site.repository, path):
            return Denied(
                code="repository-place",
                reasons=(f"the repository lies below {path}, which a sandbox without mounts must show",),
                hint=hint,
            )
    if uid is None:
        return None
    for path in (*(real for _, real in exposed), site.tree):
        closed = _closed_folder(path)
        if closed is not None:
            return Denied(
                code="interpreter-unreachable",
                reasons=(f"an unprivileged user cannot reach {path}: {closed} is closed to others",),
                hint=f"{hint}; or use a Python outside {closed}",
            )
    return None


def _closed_folder(path: str) -> str | None:
    """Return the first folder above `path` that others may not pass through."""
    for folder in reversed(Path(path).parents):
        if not folder.stat().st_mode & 0o001:
            return str(folder)
    return None


def _identity_files(folder: str) -> list[Bind]:
    return [Bind(source=f"{folder}/{name}", target=f"/etc/{name}") for name in ("passwd", "group")]


def _hand_over(uid: int, *folders: str) -> None:
    for folder in folders:
        os.chown(folder, uid, uid)
        for parent, names, files in os.walk(folder):
            for name in (*names, *files):
                os.chown(Path(parent, name), uid, uid, follow_symlinks=False)


def _environment(seen: Seen, interpreter: HostInterpreter) -> dict[str, str]:
    """Return all that a sandboxed process learns from its environment. Nothing of ours is handed on."""
    binaries = (str(Path(interpreter.executable).parent), f"{interpreter.environment}/bin")
    return {
        "PATH": ":".join(dict.fromkeys((*binaries, "/usr/local/bin", "/usr/bin", "/bin"))),
        "HOME": seen.home,
        "TMPDIR": seen.tmp,
        "USER": NAME,
        "LOGNAME": NAME,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
    }


def _python_path(kind: Kind, site: Site, interpreter: HostInterpreter, extra_env: Mapping[str, str]) -> dict[str, str]:
    """Put the checkout's own import roots first where it cannot stand at the repository's path."""
    first = [extra_env["PYTHONPATH"]] if "PYTHONPATH" in extra_env else []
    if not kind.mounts:
        first += [
            os.path.normpath(Path(site.tree, Path(root).relative_to(site.repository)))
            for root in interpreter.import_roots
            if is_within(root, site.repository)
        ]
    return {"PYTHONPATH": ":".join(first)} if first else {}


def _command(
    kind: Kind, command: tuple[str, ...], site: Site, interpreter: HostInterpreter, inside: list[str]
) -> list[str]:
    """Return the command with the host's Python for ``python``, and with paths that exist inside."""
    words = list(command)
    if words[0] in ("python", "python3"):
        words[0] = interpreter.executable
    elif "/" in words[0]:
        place = os.path.normpath(Path(site.repository, words[0]))
        if any(is_within(place, folder) for folder in inside):
            words[0] = place
    if kind.mounts:
        return words
    return [_in_place(word, site, inside) for word in words]


def _in_place(word: str, site: Site, inside: list[str]) -> str:
    if not is_within(word, site.repository) or any(is_within(word, folder) for folder in inside):
        return word
    return os.path.normpath(Path(site.tree, Path(word).relative_to(site.repository)))
