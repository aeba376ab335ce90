"""A throwaway Git repository for tests: made by git itself, and looked at from outside, as a user would."""

import os
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from homeostat.core.ids import CommitId, parse_commit_id

_WHEN = "@1767225600 +0000"
IDENTITY = {
    "GIT_AUTHOR_NAME": "A User",
    "GIT_AUTHOR_EMAIL": "user@localhost",
    "GIT_COMMITTER_NAME": "A User",
    "GIT_COMMITTER_EMAIL": "user@localhost",
    "GIT_AUTHOR_DATE": _WHEN,
    "GIT_COMMITTER_DATE": _WHEN,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    # After each commit, git would start a process of its own that finds nothing to tidy.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "maintenance.auto",
    "GIT_CONFIG_VALUE_0": "false",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything a user can see of a repository: refs, status, index, files with their modes, empty folders."""

    refs: str
    head: str
    status: bytes
    index: bytes
    files: Mapping[str, tuple[int, bytes]]
    folders: frozenset[str]
    git_leftovers: tuple[str, ...]


class UserRepository:
    """A repository at `root`, used the way its owner uses it."""

    def __init__(self, root: Path, *, object_format: str = "sha1", bare: bool = False) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        kind = ("--bare",) if bare else ()
        self.git("init", "--quiet", "--initial-branch=main", f"--object-format={object_format}", *kind)

    def git(self, *arguments: str | bytes, cwd: Path | None = None, stdin: bytes = b"", check: bool = True) -> bytes:
        """Run the user's git and return what it printed."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(
            ["git", *arguments],
            cwd=cwd or self.root,
            input=stdin,
            capture_output=True,
            env={**environment, **IDENTITY, "LC_ALL": "C"},
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"git {arguments!r}: {done.stderr.decode('utf-8', 'replace')}")
        return done.stdout

    def write(self, path: str | bytes, content: bytes, *, executable: bool = False) -> Path:
        """Write one file of the work tree, with its folders."""
        place = self.root / os.fsdecode(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o755 if executable else 0o644)
        return place

    def commit(self, files: Mapping[str, bytes] | None = None, *, message: str = "work") -> CommitId:
        """Write these files, add everything and commit it."""
        for path, content in (files or {}).items():
            self.write(path, content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.head()

    def head(self, revision: str = "HEAD") -> CommitId:
        return parse_commit_id(self.git("rev-parse", revision).decode("ascii").strip())

    def snapshot(self, root: Path | None = None) -> Snapshot:
        """Look at everything; two equal snapshots mean that a user could not tell the difference."""
        top = root or self.root
        git_dir = Path(os.fsdecode(self.git("rev-parse", "--absolute-git-dir", cwd=top).rstrip(b"\n")))
        files: dict[str, tuple[int, bytes]] = {}
        folders = set()
        for folder, names, leaves in os.walk(top):
            names[:] = [name for name in names if name != ".git"]
            if not names and not leaves:
                folders.add(os.path.relpath(folder, top))
            for leaf in leaves:
                place = Path(folder) / leaf
                mode = place.lstat().st_mode
                content = os.fsencode(place.readlink()) if stat.S_ISLNK(mode) else place.read_bytes()
                files[os.path.relpath(place, top)] = (mode, content)
        return Snapshot(
            refs=self.git("for-each-ref").decode(),
            head=self.git("rev-parse", "--symbolic-full-name", "HEAD", cwd=top).decode(),
            status=self.git("status", "--porcelain=v2", "-z", "--ignored", cwd=top),
            index=self.git("ls-files", "--stage", "-z", cwd=top),
            files=files,
            folders=frozenset(folders),
            git_leftovers=tuple(
                sorted(p.name for p in git_dir.iterdir() if ".lock" in p.name or "homeostat" in p.name)
            ),
        )
