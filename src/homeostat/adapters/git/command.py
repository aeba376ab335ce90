"""The one place that starts git.

Every call has a list of arguments, a time limit and a fixed environment. Nothing that a repository's
configuration names is run: no hooks, no file-system monitor, no pager, no signing program, no
transport. What no option switches off (filter drivers) is left to `homeostat.adapters.git.conversion`.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import IO

from homeostat.adapters.git.failures import missing_git, timed_out, translate

IDENTITY_NAME = "Homeostat"
IDENTITY_EMAIL = "homeostat@localhost"

_GRACE_S = 5.0
_NEUTRAL = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.pager=cat",
    "core.quotePath=false",
    "commit.gpgSign=false",
    "log.showSignature=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "i18n.commitEncoding=UTF-8",
    "i18n.logOutputEncoding=UTF-8",
    # git's default leaves loose objects and refs to the page cache: after a power cut a branch could
    # name a commit that was never written.
    "core.fsync=committed,reference",
)
_FIXED_ENVIRONMENT = {
    "LC_ALL": "C",
    "LANGUAGE": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone must not fetch in the middle of a flow
    "GIT_AUTHOR_NAME": IDENTITY_NAME,
    "GIT_AUTHOR_EMAIL": IDENTITY_EMAIL,
    "GIT_COMMITTER_NAME": IDENTITY_NAME,
    "GIT_COMMITTER_EMAIL": IDENTITY_EMAIL,
}
_KEPT_GIT_VARIABLES = frozenset({"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What a finished git printed, and how it ended (only codes that the caller expects)."""

    code: int
    out: bytes


class Git:
    """Runs git with `root` as its folder."""

    def __init__(
        self,
        root: Path,
        *,
        executable: str = "git",
        timeout_s: float = 60.0,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self._executable = executable
        self._timeout_s = timeout_s
        self._settings: Mapping[str, str] = dict(settings or {})

    def at(self, root: Path) -> "Git":
        """Return the same git for another folder."""
        return Git(root, executable=self._executable, timeout_s=self._timeout_s, settings=self._settings)

    def overriding(self, settings: Mapping[str, str]) -> "Git":
        """Return the same git with these settings in the place of what any configuration says."""
        both = {**self._settings, **settings}
        return Git(self.root, executable=self._executable, timeout_s=self._timeout_s, settings=both)

    def read(self, *arguments: str | bytes, stdin: bytes = b"", ok: Sequence[int] = (0,)) -> Completed:
        """Run a command that changes nothing and takes no locks."""
        return self._run(arguments, stdin=stdin, ok=ok, extra={"GIT_OPTIONAL_LOCKS": "0"}, writes=False)

    def write(
        self,
        *arguments: str | bytes,
        stdin: bytes = b"",
        ok: Sequence[int] = (0,),
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run a command that changes something; a time-out is an `OutcomeUnknown`."""
        return self._run(arguments, stdin=stdin, ok=ok, extra=env or {}, writes=True)

    @contextmanager
    def stream(self, *arguments: str, stdin: IO[bytes]) -> Iterator[IO[bytes]]:
        """Run a reading command with a file as its input and yield its output while it comes.

        The time limit covers the whole of it. Leaving early ends the process.
        """
        command = self._command(arguments)
        try:
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment({"GIT_OPTIONAL_LOCKS": "0"}),
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise missing_git(self._executable, self.root) from error
        timer = Timer(self._timeout_s, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            yield process.stdout
            code = process.wait()
            if code != 0:
                raise translate("", code=code, command=arguments[0])
        finally:
            timer.cancel()
            timer.join()
            if process.poll() is None:
                process.kill()
            process.communicate()

    def _command(self, arguments: Sequence[str | bytes]) -> list[str | bytes]:
        command: list[str | bytes] = [self._executable, "-C", str(self.root), "--no-pager", "--literal-pathspecs"]
        command.append("--no-replace-objects")
        for setting in _NEUTRAL:
            command += ["-c", setting]
        return [*command, *arguments]

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return our environment without what could point git elsewhere (`GIT_DIR`, `GIT_INDEX_FILE`, ...)."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("GIT_") or name in _KEPT_GIT_VARIABLES
        }
        # By the environment and not by -c, because a key may have a `=` in it.
        overrides = {"GIT_CONFIG_COUNT": str(len(self._settings))}
        for number, (key, value) in enumerate(self._settings.items()):
            overrides |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return {**kept, **_FIXED_ENVIRONMENT, **overrides, **extra}

    def _run(
        self,
        arguments: Sequence[str | bytes],
        *,
        stdin: bytes,
        ok: Sequence[int],
        extra: Mapping[str, str],
        writes: bool,
    ) -> Completed:
        try:
            # A session of its own: Ctrl-C in the hub's terminal must not end a git that moves a branch.
            process = subprocess.Popen(
                self._command(arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment(extra),
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise missing_git(self._executable, self.root) from error
        verb = os.fsdecode(arguments[0])
        with process:
            try:
                out, err = process.communicate(stdin, timeout=self._timeout_s)
            except subprocess.TimeoutExpired as error:
                _end(process)
                raise timed_out(verb, timeout_s=self._timeout_s, writes=writes) from error
            except BaseException:
                process.kill()
                raise
        if process.returncode not in ok:
            raise translate(err.decode("utf-8", "replace"), code=process.returncode, command=verb)
        return Completed(code=process.returncode, out=out)


def _end(process: "subprocess.Popen[bytes]") -> None:
    # SIGTERM first: git then removes its lock files; after SIGKILL they would stay behind.
    process.terminate()
    try:
        process.communicate(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
