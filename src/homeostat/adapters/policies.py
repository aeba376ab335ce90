"""Where policies on who may do what are kept: the product's own in its package, added ones in the state directory.

Never in the work tree and never in a patch: what is judged has no say in who judges it.
"""

import os
import re
import stat
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from homeostat.adapters.keys import check_private_dir, too_open
from homeostat.core.errors import Unavailable
from homeostat.core.limits import MAX_POLICIES, MAX_POLICY_FILE_CHARS
from homeostat.policy.authorization import Authorizer
from homeostat.policy.cedar_text import bad_policy

FOLDER = "policies"
"""Below the state directory."""

_SUFFIX = ".cedar"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,120}")
_SCHEMA = "homeostat.cedarschema"


def load_authorizer(state_dir: Path) -> Authorizer:
    """Read the policies in force. `InvalidInput` ``bad-policy``, `Unavailable` ``state-dir-not-private``."""
    built_in, schema = built_in_policies()
    return Authorizer(built_in, schema=schema, added=read_added(state_dir / FOLDER))


def built_in_authorizer() -> Authorizer:
    """Return what the product's own policies make, alone."""
    built_in, schema = built_in_policies()
    return Authorizer(built_in, schema=schema)


@cache
def built_in_policies() -> tuple[Mapping[str, str], str]:
    """Return the texts of the product's own policies by file name, and the schema."""
    folder = files("homeostat.policy") / "cedar"
    texts = {item.name: item.read_text("utf-8") for item in folder.iterdir() if item.name.endswith(_SUFFIX)}
    return MappingProxyType(texts), (folder / _SCHEMA).read_text("utf-8")


def built_in_expectations() -> str:
    """Return what the product's own policies are expected to answer, as `homeostat.policy.expectations` reads it."""
    return (files("homeostat.policy") / "cedar" / "expectations.toml").read_text("utf-8")


def read_added(folder: Path) -> dict[str, str]:
    """Return every ``*.cedar`` file of a folder by its path; nothing where there is no folder.

    Whoever can write such a file has a say in who may do what: one that is open to others is refused.
    """
    try:
        return {str(path): _read(path) for path in added_files(folder)}
    except OSError as error:
        raise Unavailable(
            "policies-unreadable",
            f"the policies in {folder} cannot be read: {error.strerror}: {error.filename}",
            hint="look at owner, mode and disk",
        ) from error


def added_files(folder: Path) -> list[Path]:
    """Return the paths of added policies, none of which was read yet; nothing where there is no folder."""
    if not os.path.lexists(folder):
        return []
    check_private_dir(folder)
    paths = sorted(path for path in folder.iterdir() if path.name.endswith(_SUFFIX))
    if len(paths) > MAX_POLICIES:
        raise bad_policy(str(folder), f"at most {MAX_POLICIES} files are read")
    odd = next((path for path in paths if not _NAME.fullmatch(path.name)), None)
    if odd is not None:
        raise bad_policy(
            str(odd), "its name has letters, digits, `.`, `_` and `-`, at most 120: a backup keeps no other"
        )
    return paths


def _read(path: Path) -> str:
    if path.is_symlink():
        raise bad_policy(str(path), "it is a link, and is not followed")
    # Checked on the open file: its name may change meanwhile.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe is not waited for
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise bad_policy(str(path), "it is not a regular file")
        if info.st_uid != os.geteuid() or info.st_mode & 0o077:
            raise too_open(path, info, "chmod 600")
        with os.fdopen(fd, "rb", closefd=False) as file:
            content = file.read(MAX_POLICY_FILE_CHARS + 1)
    finally:
        os.close(fd)
    if len(content) > MAX_POLICY_FILE_CHARS:
        raise bad_policy(str(path), f"it has more than {MAX_POLICY_FILE_CHARS} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise bad_policy(str(path), "it is not UTF-8 text") from error
