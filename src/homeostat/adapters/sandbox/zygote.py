"""The warm process from which every sandboxed run of a worker is forked.

Started by `run.Zygote` as a fresh program with nothing but the standard library: it never held a
key, a token or a file of ours, and has one thread. What takes long is done before anybody waits for
it: starting Python, importing, assembling filters, and one spare launcher with its namespaces.

A request is the name of a kind with three descriptors: the spec, where the output goes, and where the launcher
writes how the run ended. They are passed on to the spare; the answer is a handle on it (pidfd), or
the words of an error. The zygote ends when the other end of its socket is closed, and the kernel
then tells its launchers to end.
"""

import gc
import os
import select
import socket
import sys
from dataclasses import dataclass, field

from homeostat.adapters.sandbox import kernel, launcher, stages, tree
from homeostat.adapters.sandbox.spec import Kind, Shown, decode_shown

_KILL_WITHIN_S = 10.0


def main(arguments: list[str]) -> int:
    """Serve the socket whose descriptor is named in the arguments, until it is closed.

    A second argument says what every run is shown (`spec.decode_shown`).
    """
    shown = decode_shown(arguments[1]) if len(arguments) > 1 else None
    zygote = _Zygote(socket.socket(fileno=int(arguments[0])), shown)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)  # what a launcher that was killed leaves behind comes to us
    stages.assemble_filters()
    gc.freeze()  # a child that collects would otherwise copy every page it looks at
    zygote.serve()
    return 0


@dataclass(frozen=True, slots=True)
class _Launcher:
    """A launcher that waits for its request, or is at work once `door` is closed."""

    process: int
    handle: int
    door: socket.socket


@dataclass(slots=True)
class _Zygote:
    control: socket.socket
    shown: Shown | None
    expected: Kind = next(iter(Kind))
    """What the next run will probably want: what the last one wanted."""

    spare: _Launcher | None = None
    running: dict[int, _Launcher] = field(default_factory=dict)

    def serve(self) -> None:
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        while True:
            if self.spare is None and not self.running:
                self.spare = self._fork()
                poll.register(self.spare.handle, select.POLLIN)
            ready = {handle for handle, _ in poll.poll()}
            # The dead first: a spare that was killed just now must not be given a run.
            for handle in ready - {self.control.fileno()}:
                poll.unregister(handle)
                self._bury(handle)
            if self.control.fileno() in ready and not self._answer(poll):
                return

    def _answer(self, poll: select.poll) -> bool:
        """Pass one request on; False when nobody will ask any more."""
        request, handles, _, _ = socket.recv_fds(self.control, launcher.MAX_REQUEST, 3)
        if not request:
            return False
        try:
            if self.spare is None:
                self.spare = self._fork()
                poll.register(self.spare.handle, select.POLLIN)
            chosen, self.spare = self.spare, None
            self.running[chosen.handle] = chosen
            with chosen.door as door:
                socket.send_fds(door, [request], handles)
            self.expected = Kind(request.decode())
            socket.send_fds(self.control, [b"\0"], [chosen.handle])
        except OSError as error:
            self.control.send(f"the sandbox's launcher could not be started: {error}".encode())
        finally:
            for handle in handles:
                os.close(handle)
        return True

    def _bury(self, handle: int) -> None:
        """Reap a launcher that has ended; one that was killed leaves processes behind, which are ended."""
        ended = self.running.pop(handle, None) or self.spare
        assert ended is not None
        if ended is self.spare:
            self.spare = None
        ended.door.close()
        _, status = os.waitpid(ended.process, 0)
        os.close(handle)
        if os.WIFSIGNALED(status):
            known = {one.process for one in (*self.running.values(), self.spare) if one is not None}
            tree.kill_other_children(known, timeout_s=_KILL_WITHIN_S)

    def _fork(self) -> _Launcher:
        me = os.getpid()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            child = os.fork()
            if child == 0:
                _become_launcher(theirs, parent=me, expected=self.expected, shown=self.shown)
        return _Launcher(child, os.pidfd_open(child), ours)  # reaped by us alone, so the number is still its own


def _become_launcher(door: socket.socket, *, parent: int, expected: Kind, shown: Shown | None) -> None:
    code = 1
    try:
        os.setsid()
        os.closerange(3, door.fileno())
        os.closerange(door.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        code = launcher.main(door, parent=parent, expected=expected, shown=shown)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)
