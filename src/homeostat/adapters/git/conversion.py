"""What git writes into a checkout for a blob: line endings, `ident` and encodings by its attributes.

git itself is asked, so that the bytes are those of a `git checkout`. Drivers that a repository's
configuration names (`filter=...`, as for large files) would run a program; paths that have one are
refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from homeostat.adapters.git.command import Git
from homeostat.adapters.git.paths import Sides, decode_path, encode_path
from homeostat.adapters.git.repository import GitRepository
from homeostat.core.errors import InvalidInput, NotFound

_CONVERTING = ("text", "eol", "crlf", "ident", "working-tree-encoding")
_NOT_SET = (b"unspecified", b"unset")
_TRUE = (b"true", b"yes", b"on", b"1")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutSettings:
    """How this repository's configuration has files written and compared."""

    auto_crlf: bool
    """Text files get CRLF in the checkout (`core.autocrlf=true`)."""

    file_mode: bool
    """The executable bit on disk means something (`core.fileMode`)."""


def read_settings(git: Git) -> CheckoutSettings:
    """Read the two settings in one run of git."""
    out = git.read("config", "-z", "--get-regexp", r"^core\.(autocrlf|filemode)$", ok=(0, 1)).out
    values: dict[bytes, bytes] = {}
    for record in out.split(b"\0"):
        name, has_value, value = record.partition(b"\n")
        values[name] = value.lower() if has_value else b"true"
    return CheckoutSettings(
        auto_crlf=values.get(b"core.autocrlf", b"false") in _TRUE,
        file_mode=values.get(b"core.filemode", b"true") in _TRUE,
    )


def without_filters(git: Git) -> Git:
    """Return a git that runs no filter driver, whatever its configuration names.

    git runs them not only for the files it is asked about: whoever writes an index makes sure of
    every entry that was changed in the same instant as the index, by filtering its file.
    """
    out = git.read("config", "-z", "--name-only", "--get-regexp", r"^filter\.", ok=(0, 1)).out
    drivers = {name.decode("utf-8", "surrogateescape").rpartition(".")[0] for name in out.split(b"\0") if name}
    off = {f"{driver}.{kind}": "" for driver in sorted(drivers) for kind in ("clean", "smudge", "process")}
    return git.overriding({**off, **{f"{driver}.required": "false" for driver in sorted(drivers)}})


def checkout_forms(
    repository: GitRepository, git: Git, sides: Mapping[str, Sides], *, auto_crlf: bool
) -> Mapping[tuple[str, str], bytes]:
    """Return, for (path, object name) of either side, the bytes that a checkout has for it.

    A side whose blob is not in the repository is returned as it is. Raises `InvalidInput`
    (``filtered-file``) where a filter driver is set.
    """
    attributes = _attributes(git, sides)
    for path, values in attributes.items():
        driver = values.get("filter")
        if driver is not None:
            raise InvalidInput(
                "filtered-file",
                f"`{path}` goes through the filter `{driver}`, which would run a program",
                hint="change this file by hand",
            )
    forms: dict[tuple[str, str], bytes] = {}
    for path, item in sides.items():
        converts = auto_crlf or bool(attributes.get(path))
        for state in (item.before, item.after):
            if state is not None:
                name = repository.blob_id(state.content)
                forms[path, name] = _converted(git, path, name, state.content) if converts else state.content
    return forms


def _converted(git: Git, path: str, name: str, content: bytes) -> bytes:
    # One run for each: in `cat-file --batch --filters` the size in the header is that of the blob, not
    # that of what follows, so that the batch cannot be taken apart.
    try:
        return git.read("cat-file", "--filters", b"--path=" + encode_path(path), name).out
    except NotFound:
        return content


def _attributes(git: Git, sides: Mapping[str, Sides]) -> Mapping[str, Mapping[str, str]]:
    """Return, for each path, those attributes that make a checkout differ from its blob."""
    request = b"".join(encode_path(path) + b"\0" for path in sides)
    fields = git.read("check-attr", "-z", "--stdin", "filter", *_CONVERTING, stdin=request).out.split(b"\0")
    found: dict[str, dict[str, str]] = {}
    for path, name, value in zip(fields[0::3], fields[1::3], fields[2::3], strict=False):
        if value not in _NOT_SET:
            found.setdefault(decode_path(path), {})[name.decode()] = value.decode("utf-8", "replace")
    return found
