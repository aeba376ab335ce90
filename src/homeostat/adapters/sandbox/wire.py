"""What passes between the hub and its worker: JSON documents of one version."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from homeostat.adapters.sandbox.spec import Kind
from homeostat.core.errors import Conflict, HomeostatError, IntegrityFailure, InvalidInput, NotFound, Unavailable
from homeostat.core.ids import parse_commit_id
from homeostat.model.proof import TestRun
from homeostat.ports.proving import Isolation, IsolationCheck, ProofJob, ProofRuns

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
        job = raw["job"]
        return (
            ProofJob(
                repository=str(job["repository"]),
                base=parse_commit_id(job["base"]),
                candidate=parse_commit_id(job["candidate"]),
                test_command=tuple(str(word) for word in job["test_command"]),
                python=str(job["python"]),
                changed_modules=tuple(str(path) for path in job["changed_modules"]),
                timeout_s=float(job["timeout_s"]),
                memory_mb=int(job["memory_mb"]),
                max_processes=int(job["max_processes"]),
            ),
            tuple(Kind(kind) for kind in raw["kinds"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput("worker-request", f"the worker was given no request: {error}") from error


def encode_runs(runs: ProofRuns) -> bytes:
    return _document({"runs": asdict(runs)})


def decode_runs(data: bytes) -> ProofRuns:
    """Read a worker's answer; its error is raised here, and one that is none of ours is `Unavailable`."""
    try:
        raw = _parsed(data)
        _raise_error(raw)
        runs = raw["runs"]
        return ProofRuns(
            sandbox=str(runs["sandbox"]),
            base=_test_run(runs["base"]),
            candidate=_test_run(runs["candidate"]),
            refused=str(runs["refused"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("worker-answer", f"the worker's answer cannot be read: {error}") from error


def encode_isolation(found: Sequence[Isolation]) -> bytes:
    return _document({"isolation": [asdict(isolation) for isolation in found]})


def decode_isolation(data: bytes) -> tuple[Isolation, ...]:
    """Read what the self-test found; like `decode_runs` in everything else."""
    try:
        raw = _parsed(data)
        _raise_error(raw)
        return tuple(
            Isolation(**{**item, "checks": tuple(IsolationCheck(**check) for check in item["checks"])})
            for item in raw["isolation"]
        )
    except (ValueError, KeyError, TypeError) as error:
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


def _raise_error(raw: Mapping[str, Any]) -> None:
    error = raw.get("error")
    if error is not None:
        family = _FAMILIES.get(error["family"], Unavailable)
        raise family(error["code"], error["message"], hint=error["hint"], facts=error["facts"])


def _document(content: Mapping[str, Any]) -> bytes:
    return json.dumps({"version": _VERSION, **content}).encode()


def _parsed(data: bytes) -> Mapping[str, Any]:
    raw = json.loads(data)
    if not isinstance(raw, dict) or raw.get("version") != _VERSION:
        raise ValueError(f"not a document of version {_VERSION}")
    return raw


def _test_run(raw: Mapping[str, Any] | None) -> TestRun | None:
    return None if raw is None else TestRun(**raw)
