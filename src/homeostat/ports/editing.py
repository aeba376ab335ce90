"""The files of the checkout that a person edits while their program runs."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from homeostat.model.reload import FileText, Stamp


class EditedFiles(Protocol):
    """Reads only. What goes wrong with one file is an answer about that file."""

    def stamps(self, paths: Iterable[str]) -> Mapping[str, Stamp | None]:
        """Return the stamp of each; None where there is no regular file that could be asked about."""
        ...

    def read(self, path: str) -> FileText:
        """Return the content, as it was at one moment; or why it cannot be had (too large, no file, changing)."""
        ...

    def git_is_at_work(self) -> bool:
        """Tell whether a command of Git is just writing to this checkout: what it has written is half of something."""
        ...
