"""One move of a checkout from a commit to another, as a plan: what stands there, and what is to be done.

Nothing here writes. Going forward and going back are the same move with its sides exchanged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeostat.adapters.git.conversion import checkout_forms, read_settings
from homeostat.adapters.git.index_entries import IndexEntry, read_entries
from homeostat.adapters.git.paths import Sides, decode_path
from homeostat.adapters.git.repository import Checkout, GitRepository
from homeostat.adapters.git.tree_files import DiskFile, Obstacle, OnDisk, TreeFiles
from homeostat.core.errors import InvalidInput
from homeostat.core.ids import CommitId, parse_commit_id
from homeostat.model.change import EXECUTABLE
from homeostat.ports.repository import Drift


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One side of one path, as a checkout and as an index have it."""

    raw: bytes
    """The blob's bytes."""

    checked_out: bytes
    """The bytes git would write, with line endings converted where attributes say so."""

    executable: bool
    entry: IndexEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One touched path: where it comes from, where it goes to, and what is there now."""

    path: str
    source: Form | None
    target: Form | None
    on_disk: OnDisk
    staged: Sequence[IndexEntry]
    file_mode: bool

    @property
    def disk_is_target(self) -> bool:
        return self._disk_is(self.target)

    @property
    def index_is_target(self) -> bool:
        return _index_matches(self.staged, self.target)

    @property
    def is_foreign(self) -> bool:
        """Neither as before nor as after: somebody else's work is here."""
        disk_known = self.disk_is_target or self._disk_is(self.source)
        index_known = self.index_is_target or _index_matches(self.staged, self.source)
        return not (disk_known and index_known)

    @property
    def new_bytes(self) -> bytes:
        """What to write: converted like the file that stands there, so that a way back is exact."""
        assert self.target is not None
        disk, source = self.on_disk, self.source
        unconverted = isinstance(disk, DiskFile) and source is not None and disk.content != source.checked_out
        return self.target.raw if unconverted else self.target.checked_out

    def _disk_is(self, form: Form | None) -> bool:
        found = self.on_disk
        if isinstance(found, DiskFile) and form is not None:
            same_mode = not self.file_mode or found.executable == form.executable
            return same_mode and found.content in (form.checked_out, form.raw)
        return found is None and form is None

    def drift(self) -> Drift | None:
        """Compare with the source side: the first thing that is not as it must be."""
        if isinstance(self.on_disk, Obstacle):
            return Drift(path=self.path, problem="not-a-file")
        if not self._disk_is(self.source):
            return Drift(path=self.path, problem=difference(self.on_disk is not None, self.source is not None))
        if not _index_matches(self.staged, self.source):
            return Drift(path=self.path, problem="staged")
        return None


def difference(is_there: bool, must_be_there: bool) -> str:
    """Return the word of `Drift` for a path that is not as it must be."""
    if is_there and must_be_there:
        return "modified"
    return "missing" if must_be_there else "unexpected"


def look(
    repository: GitRepository, checkout: Checkout, files: TreeFiles, sides: Mapping[str, Sides]
) -> Sequence[Place]:
    """Look at every touched path of a checkout; the sides' *before* is the source, *after* the target."""
    git = repository.git.at(checkout.root)
    settings = read_settings(git)
    forms = checkout_forms(repository, git, sides, auto_crlf=settings.auto_crlf)
    entries = read_entries(git, list(sides))
    places = []
    for path, item in sides.items():
        source, target = (
            None
            if state is None
            else Form(
                raw=state.content,
                checked_out=forms[path, repository.blob_id(state.content)],
                executable=state.mode == EXECUTABLE,
                entry=IndexEntry(mode=state.mode, object_id=repository.blob_id(state.content)),
            )
            for state in (item.before, item.after)
        )
        # Entries *below* a path mean that the index has a folder where the change has a file.
        staged = [
            entry for name, found in entries.items() if name == path or name.startswith(path + "/") for entry in found
        ]
        places.append(
            Place(
                path=path,
                source=source,
                target=target,
                on_disk=files.look(path),
                staged=staged,
                file_mode=settings.file_mode,
            )
        )
    return places


def verify_commits(
    repository: GitRepository, *, source: CommitId, target: CommitId, sides: Mapping[str, Sides]
) -> None:
    """Raise `InvalidInput` (``commit-differs``) unless the two commits differ by exactly this change."""
    out = repository.git.read(
        "diff-tree", "-r", "-z", "--raw", "--no-renames", "--full-index",
        parse_commit_id(source), parse_commit_id(target),
    ).out  # fmt: skip
    fields = out.split(b"\0")
    told: dict[str, tuple[tuple[int, str], ...]] = {}
    for facts, path in zip(fields[0::2], fields[1::2], strict=False):
        old_mode, new_mode, old, new, _ = facts.removeprefix(b":").split()
        told[decode_path(path)] = ((int(old_mode, 8), old.decode()), (int(new_mode, 8), new.decode()))
    nothing = (0, repository.null_id)
    wanted = {
        path: tuple(
            nothing if state is None else (int(state.mode), repository.blob_id(state.content))
            for state in (item.before, item.after)
        )
        for path, item in sides.items()
        if item.before != item.after
    }
    if told != wanted:
        raise InvalidInput("commit-differs", f"{source[:12]} and {target[:12]} do not differ by this change")


def _index_matches(staged: Sequence[IndexEntry], form: Form | None) -> bool:
    return list(staged) == ([] if form is None else [form.entry])
