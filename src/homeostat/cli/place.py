"""Where a command works: the repository under care, its state directory, and the hub's address."""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from homeostat.adapters.folders import read_regular
from homeostat.adapters.process_start import process_started
from homeostat.core.errors import InvalidInput, Unavailable

DEFAULT_URL = "http://127.0.0.1:3001"

_URL = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?(?:/[^\s?#]*)?")
_MAX_FILE_BYTES = 64 << 10
_TOKEN = re.compile(r"[!-~]{1,4096}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One repository and its state. The state directory need not exist yet."""

    repository: Path
    state_dir: Path

    @property
    def hub_file(self) -> Path:
        return self.state_dir / "run" / "hub.json"

    def running_hub(self) -> str | None:
        """Return the address of the hub that works on this state directory now, None when there is none.

        A hub that was killed leaves its file behind, and somebody else may listen at its address:
        the very process it names must live (after a start of the machine another one has its number),
        and belong to the owner of the file.
        """
        try:
            facts = json.loads(read_regular(self.hub_file, most_bytes=_MAX_FILE_BYTES))
            url, pid = str(facts["url"]), int(facts["pid"])
            ours = Path(f"/proc/{pid}").stat().st_uid == self.hub_file.stat().st_uid
            alive = ours and process_started(pid) == str(facts["started"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return url if alive else None

    def settings_are_newer(self) -> bool:
        """Tell whether homeostat.toml was written after the hub had read it. False where another hub is asked."""
        from homeostat.adapters.settings import FILE_NAME  # only where it is asked: it takes a while to import

        if os.environ.get("HOMEOSTAT_HUB_URL", "").strip():
            return False
        try:
            return (self.repository / FILE_NAME).stat().st_mtime > self.hub_file.stat().st_mtime
        except OSError:
            return False

    def hub_url(self) -> str:
        """Return ``HOMEOSTAT_HUB_URL``, else the address of the running hub.

        The default address is used only with a token that was given: the owner's own goes to
        nobody but the hub that made it. `Unavailable` (``hub-down``) when there is none.
        """
        told = os.environ.get("HOMEOSTAT_HUB_URL", "").strip()
        if told:
            if not _URL.fullmatch(told):
                raise InvalidInput(
                    "bad-hub-url", f"HOMEOSTAT_HUB_URL is {told[:80]!r}", hint=f"it looks like {DEFAULT_URL}"
                )
            return told.rstrip("/")
        url = self.running_hub()
        if url is None and os.environ.get("HOMEOSTAT_TOKEN"):
            return DEFAULT_URL
        if url is None:
            raise Unavailable("hub-down", f"no hub works on {self.state_dir}", hint="start it with `homeostat up`")
        return url

    def token(self) -> str:
        """Return ``HOMEOSTAT_TOKEN``, else the owner's token of this state directory."""
        told = os.environ.get("HOMEOSTAT_TOKEN", "").strip()
        path = self.state_dir / "keys" / "owner.token"
        try:
            token = told or read_regular(path, most_bytes=_MAX_FILE_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                "no-token",
                f"there is no token at {path}",
                hint="start the hub with `homeostat up`, or set HOMEOSTAT_TOKEN",
            ) from error
        if not _TOKEN.fullmatch(token):
            where = "HOMEOSTAT_TOKEN" if told else str(path)
            raise InvalidInput("bad-token", f"what {where} holds is no token", hint="`homeostat token` prints yours")
        return token


def locate(repo: Path | None, state_dir: Path | None) -> Place:
    """Find the repository (given, or the one around the working directory) and its state directory."""
    repository = _toplevel(repo or Path.cwd())
    told = os.environ.get("HOMEOSTAT_STATE_DIR") or os.environ.get("AETHERRA_STATE_DIR")
    return Place(repository=repository, state_dir=(state_dir or Path(told or repository / ".homeostat")).absolute())


def _toplevel(start: Path) -> Path:
    command = ["git", "-C", str(start), "rev-parse", "--show-toplevel"]
    try:
        found = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"})
    except FileNotFoundError as error:
        raise InvalidInput("no-git", "git is not installed", hint="install git, then try again") from error
    top = os.fsdecode(found.stdout.removesuffix(b"\n"))
    if found.returncode == 0 and top:
        return Path(top)
    if b"dubious ownership" in found.stderr:
        raise InvalidInput(
            "repository-not-trusted",
            f"git does not trust {start}: it belongs to another user",
            hint="run this as its owner, or allow it: git config --global --add safe.directory DIR",
        )
    raise InvalidInput(
        "not-a-repository",
        f"{start} is not inside the work tree of a Git repository",
        hint="run this in the repository of the program, or give --repo DIR; `git init` makes one",
    )
