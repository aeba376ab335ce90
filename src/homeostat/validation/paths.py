"""Which paths a patch may name, and which two names a file system may take for one.

A path is text with forward slashes, relative to the root of the tree. The rules are those of every
system the tree may be checked out on, not only of this one: a name that is harmless here may be
the repository's own folder on a disk that folds letter case or skips invisible characters.
"""

import re
import unicodedata

MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 255

_DRIVE = re.compile(r"[A-Za-z]:")
_HOME = re.compile(r"~[A-Za-z0-9_.-]*/")
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SHORT_GIT = re.compile(r"git~[0-9]+")

_IGNORABLE_RANGES = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
"""Default_Ignorable_Code_Point of Unicode: what a file system or a reader may not see at all."""


def decode_name(raw: bytes) -> str | None:
    """Return a name's text, or None when it is not UTF-8 (it could be neither stored nor shown)."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def path_fault(path: str) -> str | None:
    """Say what is wrong with this path as the place of a file in a tree; None when nothing is."""
    if not path:
        return "is empty"
    if len(path.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    fault = _character_fault(path)
    if fault is not None:
        return fault
    if path.startswith("/"):
        return "is absolute"
    if _DRIVE.match(path):
        return "starts with a drive letter"
    if _HOME.match(path):
        return "starts at a home directory"
    for name in path.split("/"):
        fault = _name_fault(name)
        if fault is not None:
            return fault
    return None


def collision_key(path: str) -> str:
    """Return what a file system that folds case and composes characters may take this path for.

    Two different paths with one key must not stand in one tree: somewhere they are one file.
    """
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def shown(path: str | bytes) -> str:
    """Return a name for a message: escaped, quoted, and at most some 120 characters long."""
    text = path.decode("utf-8", "backslashreplace") if isinstance(path, bytes) else path
    if len(text) > 120:
        text = text[:117] + "..."
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def parents(path: str) -> list[str]:
    """Return every folder above this path, the outermost first."""
    names = path.split("/")
    return ["/".join(names[:depth]) for depth in range(1, len(names))]


def _character_fault(path: str) -> str | None:
    for char in path:
        if char == "\\":
            return "has a backslash"
        category = unicodedata.category(char)
        if category in ("Cc", "Zl", "Zp") or char in _BIDI:
            return f"has the control character U+{ord(char):04X}"
        if category == "Cs":
            return "has a lone surrogate"
    return None


def _name_fault(name: str) -> str | None:
    if name == "":
        return "has an empty name between slashes"
    if name in (".", ".."):
        return f"has a `{name}` in it"
    if len(name.encode("utf-8")) > MAX_NAME_BYTES:
        return f"has a name longer than {MAX_NAME_BYTES} bytes"
    if _is_git_folder(name):
        return "lies in the repository's own folder `.git`"
    return None


def _is_git_folder(name: str) -> bool:
    """Tell whether some file system may take this name for ``.git``.

    Windows drops trailing dots and spaces, and what follows a colon names a stream of the same file;
    it has the short form ``git~1`` too. Apple's file systems fold case and skip ignorable characters.
    """
    folded = unicodedata.normalize("NFKD", name).casefold()
    visible = "".join(
        char for char in folded if not _is_ignorable(char) and unicodedata.category(char) not in ("Mn", "Cf")
    )
    stem = visible.partition(":")[0].rstrip(". ")
    return stem == ".git" or _SHORT_GIT.fullmatch(stem) is not None


def _is_ignorable(char: str) -> bool:
    point = ord(char)
    return any(low <= point <= high for low, high in _IGNORABLE_RANGES)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
