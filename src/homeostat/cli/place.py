"""Where a command works: the repository under care, its state directory, and the hub's address."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from homeostat.core.errors import InvalidInput

DEFAULT_URL = "http://127.0.0.1:3001"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One repository and its state. The state directory need not exist yet."""

    repository: Path
    state_dir: Path

    @property
    def hub_file(self) -> Path:
        return self.state_dir / "run" / "hub.json"

    def hub_url(self) -> str:
        """Return ``HOMEOSTAT_HUB_URL``, else the running hub's own word, else the default."""
        told = os.environ.get("HOMEOSTAT_HUB_URL")
        if told:
            return told.rstrip("/")
        try:
            return str(json.loads(self.hub_file.read_text())["url"])
        except (OSError, ValueError, KeyError, TypeError):
            return DEFAULT_URL

    def token(self) -> str:
        """Return ``HOMEOSTAT_TOKEN``, else the owner's token of this state directory."""
        told = os.environ.get("HOMEOSTAT_TOKEN")
        if told:
            return told
        path = self.state_dir / "keys" / "owner.token"
        try:
            return path.read_text(encoding="ascii").strip()
        except OSError as error:
            raise InvalidInput(
                "no-token",
                f"there is no token at {path}",
                hint="start the hub with `homeostat up`, or set HOMEOSTAT_TOKEN",
            ) from error


def locate(repo: Path | None, state_dir: Path | None) -> Place:
    """Find the repository (given, or the one around the working directory) and its state directory."""
    repository = _toplevel(repo or Path.cwd())
    told = state_dir or (Path(os.environ["HOMEOSTAT_STATE_DIR"]) if os.environ.get("HOMEOSTAT_STATE_DIR") else None)
    return Place(repository=repository, state_dir=(told or repository / ".homeostat").absolute())


def _toplevel(start: Path) -> Path:
    try:
        found = subprocess.run(
            ["git", "-C", str(start), "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise InvalidInput("no-git", "git is not installed", hint="install git, then try again") from error
    if found.returncode != 0:
        raise InvalidInput(
            "not-a-repository",
            f"{start} is not inside a Git repository",
            hint="run this in the repository of the program, or give --repo DIR; `git init` makes one",
        )
    return Path(found.stdout.rstrip("\n"))
