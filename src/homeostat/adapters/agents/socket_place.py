"""Where the agents' door stands, and that there is one gateway behind it.

A Unix socket's path holds about 108 bytes, so a deep state directory gets its door in a private
folder elsewhere. Every folder used is one of our own that nobody else may enter.
"""

import fcntl
import hashlib
import os
import socket
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from homeostat.core.errors import Conflict, Unavailable

MAX_PATH_BYTES = 100
SOCKET_NAME = "agent.sock"
_BACKLOG = 64


def choose_socket_path(
    state_dir: Path, *, environ: Mapping[str, str] | None = None, socket_name: str = SOCKET_NAME
) -> Path:
    """Return where a door of this state directory stands: the same answer for the same environment.

    ``run/agent.sock`` in it (or the other name) when that is short enough, else a folder named after it below
    ``XDG_RUNTIME_DIR`` or the temporary folder. `Unavailable` when all of them are too deep.
    """
    environment = os.environ if environ is None else environ
    near = state_dir.absolute() / "run" / socket_name
    if _fits(near):
        return near
    name = f"homeostat-{os.geteuid()}-{hashlib.sha256(os.fsencode(state_dir.resolve())).hexdigest()[:16]}"
    for parent in (environment.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if parent and Path(parent).is_dir() and _fits(Path(parent) / name / socket_name):
            return Path(parent) / name / socket_name
    raise Unavailable(
        "agent-socket-path",
        f"no folder for the agents' socket has a path of at most {MAX_PATH_BYTES} bytes",
        hint="set XDG_RUNTIME_DIR to a short path of your own, such as /run/user/$UID",
    )


def private_folder(folder: Path) -> None:
    """Make the folder with mode 0700, or check that the one there is ours alone; else `Unavailable`."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.lstat()
    except OSError as error:
        raise Unavailable(
            "agent-folder-not-private", f"{folder} cannot be used: {error.strerror or type(error).__name__}"
        ) from error
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
        raise Unavailable(
            "agent-folder-not-private",
            f"{folder} is not a folder of ours that nobody else may enter",
            hint=f"remove it, or chmod 700 {folder}",
        )


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= MAX_PATH_BYTES


class Door:
    """A listening socket at a path, held by a lock for as long as this object is open.

    The lock, not the socket file, says whether a gateway is there: a file left over by one that was
    killed is replaced, and one that is in use is never taken away.
    """

    def __init__(self, path: Path, *, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
        """Open the door; `Conflict` (``gateway-running``) when another gateway holds it."""
        private_folder(path.parent)
        self.path = path
        self._kind = kind
        self._lock = _lock(path)
        try:
            self.listener = _listen(path, kind)
            self._identity = _identity(path)
        except BaseException:
            os.close(self._lock)
            raise

    def stands(self) -> bool:
        """Tell whether the path still leads here. Cleaners of temporary folders may have removed it."""
        return self._identity is not None and _identity(self.path) == self._identity

    def reopen(self) -> None:
        """Listen anew at the path; connections that stand are not touched."""
        fresh = _listen(self.path, self._kind)
        self.listener.close()
        self.listener = fresh
        self._identity = _identity(self.path)

    def shut(self) -> None:
        """Stop listening and remove the socket file if it is ours; the lock is still held. Idempotent."""
        if self.stands():
            self.path.unlink(missing_ok=True)
        self._identity = None
        self.listener.close()

    def close(self) -> None:
        """Shut the door and let go of the lock. Idempotent."""
        if self._lock < 0:
            return
        self.shut()
        # The lock file itself stays: removing it would let two gateways lock two different files.
        os.close(self._lock)
        self._lock = -1


def _lock(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path.with_name(path.name + ".lock"), flags, 0o600)
    except OSError as error:
        raise _cannot(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Conflict(
            "gateway-running",
            f"another hub already serves agents at {path}",
            hint="stop the other hub, or use another state directory",
        ) from error
    return descriptor


def _listen(path: Path, kind: socket.SocketKind) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, kind)
    try:
        listener.setblocking(False)
        if path.is_socket():
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot(path, error) from error
    return listener


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        info = path.lstat()
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _cannot(path: Path, error: OSError) -> Unavailable:
    return Unavailable("agent-socket", f"the agents' socket {path} cannot be opened: {error.strerror or error}")
