"""What passes between the hub and its worker: JSON documents of one version."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from homeostat.adapters.sandbox.spec import Kind
from homeostat.core.errors import Conflict, HomeostatError, IntegrityFailure, InvalidInput, NotFound, Unavailable
from homeostat.core.ids import parse_commit_id
from homeostat.ports.proving import Isolation, ProofJob, ProofRuns

_VERSION = 1
_FAMILIES: dict[str, type[HomeostatError]] = {
    family.__name__: family for family in (InvalidInput, NotFound, Conflict, Unavailable, IntegrityFailure)
}


def encode_request(job: ProofJob, kinds: Sequence[Kind]) -> bytes:
    """Return a proof to be run in the first of these kinds that can hold it."""
    return _document({"job": asdict(job), "kinds": [kind.value for kind in kinds]})


def decode_request(data: bytes) -> tuple[ProofJob, tuple[Kind, ...]]:
    """Read a request; `InvalidInput` (``worker-request``) when it is none."""
    try:
        raw = _parsed(data)
        job, kinds = msgspec.convert((raw["job"], raw["kinds"]), tuple[ProofJob, tuple[Kind, ...]])
        parse_commit_id(job.base)
        parse_commit_id(job.candidate)
        return job, kinds
    except (ValueError, KeyError) as error:
        raise InvalidInput("worker-request", f"the worker was given no request: {error}") from error


def encode_runs(runs: ProofRuns) -> bytes:
    return _document({"runs": asdict(runs)})


def decode_runs(data: bytes) -> ProofRuns:
    """Read a worker's answer; its error is raised here, and one that is none of ours is `Unavailable`."""
    try:
        raw = _parsed(data)
        _raise_error(raw)
        return msgspec.convert(raw["runs"], ProofRuns)
    except (ValueError, KeyError) as error:
        raise Unavailable("worker-answer", f"the worker's answer cannot be read: {error}") from error


def encode_isolation(found: Sequence[Isolation]) -> bytes:
    return _document({"isolation": [asdict(isolation) for isolation in found]})


def decode_isolation(data: bytes) -> tuple[Isolation, ...]:
    """Read what the self-test found; like `decode_runs` in everything else."""
    try:
        raw = _parsed(data)
        _raise_error(raw)
        return msgspec.convert(raw["isolation"], tuple[Isolation, ...])
    except (ValueError, KeyError) as error:
        raise Unavailable("worker-answer", f"the worker's answer cannot be read: {error}") from error


def encode_error(error: HomeostatError) -> bytes:
    """Return an error as an answer, so that the hub can raise it as if it had happened there."""
    return _document(
        {
            "error": {
                "family": type(error).__name__,
                "code": error.code,
                "message": error.message,
                "hint": error.hint,
                "facts": dict(error.facts),
            }
        }
    )


class _Error(msgspec.Struct):
    family: str
    code: str
    message: str
    hint: str
    facts: dict[str, Any]


def _raise_error(raw: Mapping[str, Any]) -> None:
    if raw.get("error") is not None:
        error = msgspec.convert(raw["error"], _Error)
        family = _FAMILIES.get(error.family, Unavailable)
        raise family(error.code, error.message, hint=error.hint, facts=error.facts)


def _document(content: Mapping[str, Any]) -> bytes:
    return json.dumps({"version": _VERSION, **content}).encode()


def _parsed(data: bytes) -> Mapping[str, Any]:
    try:
        raw = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(raw, dict) or raw.get("version") != _VERSION:
        raise ValueError(f"not a document of version {_VERSION}")
    return raw
