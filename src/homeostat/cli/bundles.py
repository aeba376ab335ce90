"""One change's story out of a file: with which key it is checked, and what is said of a file that is none."""

from pathlib import Path
from typing import TYPE_CHECKING

from homeostat.adapters.folders import read_regular
from homeostat.cli.place import locate
from homeostat.core.errors import HomeostatError, InvalidInput, NotFound

if TYPE_CHECKING:
    from homeostat.audit.bundle import BundleCheck
    from homeostat.audit.notes import NoteKey

_WHERE_KEYS_ARE = (
    "add --key KEY: `homeostat ledger bundle` and `homeostat ledger checkpoint` print it where the ledger is"
)
_NO_BUNDLES = (
    (
        b"c2sp.org/tlog-proof@",
        "the proof of one entry",
        "the story of a change is made by `homeostat ledger bundle ID`",
    ),
    (b"homeostat/", "a checkpoint", "beside the ledger: homeostat verify --checkpoint FILE"),
)
"""What else the ledger gives away, by how it begins: to be told from a bundle in which something was altered."""


def verify_one(bundle: Path, key: str, repo: Path | None, state_dir: Path | None) -> "tuple[BundleCheck, ...]":
    """Check one change's story. With a key nothing else is looked at; without one, only the public key here."""
    from homeostat.audit.bundle import MAX_BYTES, verify_bundle

    data = content_of(bundle, MAX_BYTES + 1)
    for beginning, what, remedy in _NO_BUNDLES:
        if data.startswith(beginning):
            raise InvalidInput("not-a-bundle", f"{bundle} is {what}, not a bundle", hint=remedy)
    return verify_bundle(data, _key_given(key) if key else _key_here(repo, state_dir))


def _key_given(key: str) -> "NoteKey":
    from homeostat.adapters.keys import verifier_from_pem
    from homeostat.audit.checkpoint import ledger_key
    from homeostat.audit.notes import NoteKey

    if "+" in key and not Path(key).exists():
        return NoteKey.parse(key)
    try:
        return ledger_key(verifier_from_pem(Path(key)).public_key())
    except HomeostatError as error:  # it is an auditor's copy: nothing of the state is damaged
        why = f"--key {key[:200]}: neither a ledger's key nor its ledger.pub: {error.message}"
        raise InvalidInput("bad-note-key", why, hint=_WHERE_KEYS_ARE) from error


def _key_here(repo: Path | None, state_dir: Path | None) -> "NoteKey":
    from homeostat.adapters.keys import PUBLIC_KEY, load_verifier
    from homeostat.audit.checkpoint import ledger_key

    try:
        place = locate(repo, state_dir)
    except HomeostatError as error:
        raise NotFound("no-ledger-key", f"no --key, and none here: {error.message}", hint=_WHERE_KEYS_ARE) from error
    if not (place.state_dir / "keys" / PUBLIC_KEY).exists():
        raise NotFound("no-ledger-key", f"no --key, and none in {place.state_dir}", hint=_WHERE_KEYS_ARE)
    return ledger_key(load_verifier(place.state_dir).public_key())


def content_of(path: Path, most_bytes: int) -> bytes:
    """Return what is in a file that was named, cut at so many bytes; `InvalidInput` where it cannot be read."""
    try:
        return read_regular(path, most_bytes=most_bytes)
    except OSError as error:
        raise InvalidInput("no-such-file", f"{path} cannot be read: {error.strerror}") from error
