"""What a worker answered, as the hub reads it: every field of its type, or no answer at all."""

from collections.abc import Mapping
from typing import Any

import msgspec

from homeostat.adapters.sandbox.wire import parsed
from homeostat.core.errors import Conflict, HomeostatError, IntegrityFailure, InvalidInput, NotFound, Unavailable
from homeostat.ports.proving import Isolation, ProofRuns

_FAMILIES: dict[str, type[HomeostatError]] = {
    family.__name__: family for family in (InvalidInput, NotFound, Conflict, Unavailable, IntegrityFailure)
}


def decode_runs(data: bytes) -> ProofRuns:
    """Read a worker's answer; its error is raised here, and one that is none of ours is `Unavailable`."""
    try:
        raw = parsed(data)
        _raise_error(raw)
        return msgspec.convert(raw["runs"], ProofRuns)
    except (ValueError, KeyError) as error:
        raise Unavailable("worker-answer", f"the worker's answer cannot be read: {error}") from error


def decode_isolation(data: bytes) -> tuple[Isolation, ...]:
    """Read what the self-test found; like `decode_runs` in everything else."""
    try:
        raw = parsed(data)
        _raise_error(raw)
        return msgspec.convert(raw["isolation"], tuple[Isolation, ...])
    except (ValueError, KeyError) as error:
        raise Unavailable("worker-answer", f"the worker's answer cannot be read: {error}") from error


class _Error(msgspec.Struct):
    family: str
    code: str
    message: str
    hint: str | None
    facts: dict[str, Any]


def _raise_error(raw: Mapping[str, Any]) -> None:
    if raw.get("error") is not None:
        error = msgspec.convert(raw["error"], _Error)
        family = _FAMILIES.get(error.family, Unavailable)
        raise family(error.code, error.message, hint=error.hint, facts=error.facts)
