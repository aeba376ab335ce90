"""The hub's secrets on disk: signing key, agent key, owner's token, and the folder that holds them.

Files are made whole or not at all: written beside their place with mode 0600, made durable, then
linked to their name, which fails when another process was first; everybody then reads the same one.
A key that others could read is refused, not repaired: whoever could have read it may have.
"""

import base64
import binascii
import os
import re
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from homeostat.adapters.folders import read_regular, sync_folder
from homeostat.core.errors import IntegrityFailure, NotPermitted, Unavailable

PRIVATE_KEY = "ledger.ed25519"
PUBLIC_KEY = "ledger.pub"
WORKER_KEY = "worker.ed25519"
AGENT_KEY = "agent.key"
DATABASE = "homeostat.sqlite"
OWNER_TOKEN = "owner.token"  # noqa: S105 - a file name

AGENT_KEY_BYTES = 32
_TOKEN = re.compile(r"hst_[A-Za-z0-9_-]{43}")
_SIGNATURE_BYTES = 64
_MAX_KEY_FILE_BYTES = 4096


class PublicKeyVerifier:
    """A `Signer` that can only verify: what `homeostat verify` holds. `sign` raises `NotPermitted`."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._public = key

    def sign(self, message: bytes) -> str:
        raise NotPermitted("no-private-key", f"there is no key to sign {len(message)} bytes with, only to verify")

    def verify(self, message: bytes, signature: str) -> bool:
        """Tell whether the key signed `message`. Anything but the one spelling of a signature is False."""
        try:
            raw = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError, TypeError):
            return False
        # Base64 has spare bits in its last digit: without this, an altered text could still verify.
        if len(raw) != _SIGNATURE_BYTES or base64.b64encode(raw).decode("ascii") != signature:
            return False
        try:
            self._public.verify(raw, message)
        except InvalidSignature:
            return False
        return True

    def public_key(self) -> str:
        raw = self._public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(raw).decode("ascii")

    def public_pem(self) -> bytes:
        """Return the public key as PEM, which ``openssl pkeyutl -verify -pubin`` reads too."""
        return self._public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class Ed25519Signer(PublicKeyVerifier):
    """A `Signer` with its private key in memory."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        super().__init__(key.public_key())
        self._private = key

    @classmethod
    def generate(cls) -> "Ed25519Signer":
        """Return a signer with a fresh key that exists nowhere else."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> "Ed25519Signer":
        """Return the signer of these 32 bytes, for simulations: whoever knows the seed has the key."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    def sign(self, message: bytes) -> str:
        return base64.b64encode(self._private.sign(message)).decode("ascii")

    def private_pem(self) -> bytes:
        """Return the private key as unencrypted PKCS #8; only for the file that holds it."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Everything secret that the hub holds; none of it shows when this is printed."""

    signer: Ed25519Signer
    worker: Ed25519Signer
    """The workers' key. A new one is made where its file is gone; what the old one signed is as good as it was."""

    agent_key: bytes = field(repr=False)
    owner_token: str = field(repr=False)


def ensure_state_dir(path: Path) -> Path:
    """Make the state directory, mode 0700 with a ``.gitignore`` of ``*``, or check the one that is there.

    `Unavailable` when it is not a folder of our own that nobody else may enter.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private_dir(path)
        ignore = path / ".gitignore"
        if not ignore.exists():
            _create(ignore, b"*\n")
    except OSError as error:
        raise _cannot("state directory", path, error) from error
    return path


def load_or_create_keys(state_dir: Path) -> Keys:
    """Return the keys below `state_dir`, made where there are none yet.

    `Unavailable` when a file is open to others or unreadable; `IntegrityFailure` when one is not
    what it must be, or the private key is gone while its public half shows that there was one.
    """
    folder = ensure_state_dir(state_dir) / "keys"
    _check_whole(state_dir)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        check_private_dir(folder)
        signer = _load_or_create_signer(folder)
        _load_or_create(folder / WORKER_KEY, lambda: Ed25519Signer.generate().private_pem())
        agent_key = _load_or_create(folder / AGENT_KEY, lambda: secrets.token_bytes(AGENT_KEY_BYTES))
        token_line = _load_or_create(folder / OWNER_TOKEN, lambda: f"{new_token()}\n".encode("ascii"))
    except OSError as error:
        raise _cannot("key folder", folder, error) from error
    if len(agent_key) != AGENT_KEY_BYTES:
        raise _damaged(folder / AGENT_KEY, f"it has {len(agent_key)} bytes instead of {AGENT_KEY_BYTES}")
    worker = load_signer(folder / WORKER_KEY)
    token = token_line.decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise _damaged(folder / OWNER_TOKEN, "it does not hold a token")
    return Keys(signer=signer, worker=worker, agent_key=agent_key, owner_token=token)


def check_keys(state_dir: Path) -> None:
    """Raise what `load_or_create_keys` would raise of what is there, and make nothing."""
    _check_whole(state_dir)
    folder = state_dir / "keys"
    if (folder / PUBLIC_KEY).exists() and not (folder / PRIVATE_KEY).exists():
        raise _key_missing(folder / PRIVATE_KEY, "its public half is there")
    if all((folder / name).exists() for name in (PRIVATE_KEY, PUBLIC_KEY, WORKER_KEY, AGENT_KEY, OWNER_TOKEN)):
        load_or_create_keys(state_dir)


def _check_whole(state_dir: Path) -> None:
    """Refuse a state directory of which a part is gone: making that part anew would hide the loss.

    A database without keys would get a key that did not sign it; snapshots or a ledger's head without a
    database would get a ledger that begins again.
    """
    database = state_dir / DATABASE
    if database.exists() and database.stat().st_size and not (state_dir / "keys" / PRIVATE_KEY).exists():
        raise _key_missing(state_dir / "keys" / PRIVATE_KEY, "the database that it signed is there")
    left = [name for name in ("ledger-head.json", "flows.sqlite", "backups") if (state_dir / name).exists()]
    if left and not database.exists():
        raise IntegrityFailure(
            "database-missing",
            f"{database} is gone, though {left[0]} beside it shows that there was one",
            hint="put it back: homeostat restore FILE; to begin a new ledger, move the whole state directory away",
        )


def _key_missing(path: Path, evidence: str) -> IntegrityFailure:
    return IntegrityFailure(
        "ledger-key-missing",
        f"the ledger's private key {path} is gone, though {evidence}",
        hint="put it back: homeostat restore FILE; to begin a new ledger, move the whole state directory away",
    )


def load_verifier(state_dir: Path) -> PublicKeyVerifier:
    """Return the public half only, for checking with the hub down. Creates nothing."""
    return verifier_from_pem(state_dir / "keys" / PUBLIC_KEY)


def verifier_from_pem(path: Path) -> PublicKeyVerifier:
    """Read a public key, from wherever an auditor keeps it."""
    try:
        data = read_regular(path, most_bytes=_MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise _cannot("public key", path, error) from error
    try:
        key = load_pem_public_key(data)
    except ValueError as error:
        raise _damaged(path, "it is not a PEM public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _damaged(path, "it is not an Ed25519 key")
    return PublicKeyVerifier(key)


def new_token() -> str:
    """Return a fresh bearer token: ``hst_`` and 256 random bits, safe in a URL or header."""
    return "hst_" + secrets.token_urlsafe(32)


def _load_or_create_signer(folder: Path) -> Ed25519Signer:
    private, public = folder / PRIVATE_KEY, folder / PUBLIC_KEY
    if public.exists() and not private.exists():
        # A new key would make every older entry look forged, and hide that the old one was lost.
        raise _key_missing(private, "its public half is there")
    signer = _signer_of(private, _load_or_create(private, lambda: Ed25519Signer.generate().private_pem()))
    if not public.exists():
        _create(public, signer.public_pem())
    if verifier_from_pem(public).public_key() != signer.public_key():
        raise _damaged(public, f"it is not the public half of {PRIVATE_KEY}")
    return signer


def load_signer(path: Path) -> Ed25519Signer:
    """Return the signer whose private key is in this file, which nobody else may read."""
    try:
        return _signer_of(path, _read_private(path))
    except OSError as error:
        raise _cannot("private key", path, error) from error


def _signer_of(path: Path, data: bytes) -> Ed25519Signer:
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise _damaged(path, "it is not an unencrypted PEM private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _damaged(path, "it is not an Ed25519 key")
    return Ed25519Signer(key)


def _load_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    if not path.exists():
        _create(path, make())
    return _read_private(path)


def _read_private(path: Path) -> bytes:
    # Opened without following links, and checked on the open file: its name may change meanwhile.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe is not waited for
    with os.fdopen(fd, "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise _damaged(path, "it is not a regular file")
        if info.st_uid != os.geteuid() or info.st_mode & 0o077:
            raise too_open(path, info, "chmod 600")
        return file.read(_MAX_KEY_FILE_BYTES)


def _create(path: Path, content: bytes) -> None:
    """Write a new file, whole and durable; quiet when somebody else made it first."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink()
    sync_folder(path.parent)


def check_private_dir(path: Path) -> None:
    """Raise `Unavailable` for a folder that others can enter, or that is none."""
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode):
        raise Unavailable(
            "state-dir-not-private",
            f"{path} is not a folder (a symbolic link is not followed)",
            hint="name the folder itself",
        )
    if info.st_uid != os.geteuid() or info.st_mode & 0o077:
        raise too_open(path, info, "chmod 700")


def too_open(path: Path, info: os.stat_result, remedy: str) -> Unavailable:
    """Return the error for a state file or folder that others can read, enter or own; `remedy` mends its mode."""
    if info.st_uid != os.geteuid():
        return Unavailable(
            "state-dir-not-private",
            f"{path} belongs to uid {info.st_uid}, not to uid {os.geteuid()} who runs this",
            hint="run as its owner, or choose another folder with --state-dir",
        )
    return Unavailable(
        "state-dir-not-private",
        f"{path} has mode {stat.S_IMODE(info.st_mode):04o}: others may read or enter it",
        hint=f"{remedy} {path} (and make new keys if others use this machine)",
    )


def _damaged(path: Path, why: str) -> IntegrityFailure:
    return IntegrityFailure(
        "key-damaged", f"{path} cannot be used: {why}", hint="put it back from a backup: homeostat restore FILE"
    )


def _cannot(what: str, path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        "state-dir-unusable",
        f"the {what} {path} cannot be used: {error.strerror or type(error).__name__}",
        hint="check its permissions and the free space of its disk",
    )
