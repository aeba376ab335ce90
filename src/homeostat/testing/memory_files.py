"""Files that a person edits, in memory. Passes the same contract suite as the disk."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from homeostat.model.reload import FileText, Stamp, Unreadable


class MemoryEditedFiles:
    """Implements `homeostat.ports.editing.EditedFiles`. `now` stamps what is written."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._files: dict[str, tuple[Stamp, FileText]] = {}
        self._writes = 0
        self._git_at_work = False

    # What a test arranges

    def write(self, path: str, text: str | bytes) -> None:
        content = text.encode() if isinstance(text, str) else text
        self._put(path, content, len(content))

    def delete(self, path: str) -> None:
        self._files.pop(path, None)

    def spoil(self, path: str, reason: str) -> None:
        """Let a file be there that cannot be read, for this reason."""
        self._put(path, Unreadable(reason), 1)

    def let_git_work(self, *, at_work: bool) -> None:
        self._git_at_work = at_work

    # EditedFiles

    def stamps(self, paths: Iterable[str]) -> Mapping[str, Stamp | None]:
        return {path: self._files[path][0] if path in self._files else None for path in paths}

    def read(self, path: str) -> FileText:
        return self._files[path][1] if path in self._files else Unreadable("it is not there any more")

    def git_is_at_work(self) -> bool:
        return self._git_at_work

    def _put(self, path: str, content: FileText, size: int) -> None:
        self._writes += 1
        self._files[path] = (Stamp(self._now(), size, (self._writes,)), content)
