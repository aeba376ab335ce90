"""What passes between the hub and its worker: JSON documents of one version.

The worker has nothing but the standard library; the hub reads its answers in `answers`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from homeostat.adapters.sandbox.spec import Kind
from homeostat.core.errors import HomeostatError, InvalidInput
from homeostat.core.ids import parse_commit_id
from homeostat.model.proof import ProofSubject
from homeostat.ports.proving import Isolation, ProofJob, ProofRuns

_VERSION = 1


def encode_request(job: ProofJob, kinds: Sequence[Kind]) -> bytes:
    """Return a proof to be run in the first of these kinds that can hold it."""
    return _document({"job": asdict(job), "kinds": [kind.value for kind in kinds]})


def decode_request(data: bytes) -> tuple[ProofJob, tuple[Kind, ...]]:
    """Read a request; `InvalidInput` (``worker-request``) when it is none."""
    try:
        raw = parsed(data)
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
                subject=None if job["subject"] is None else _subject(job["subject"]),
            ),
            tuple(Kind(kind) for kind in raw["kinds"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InvalidInput("worker-request", f"the worker was given no request: {error}") from error


def _subject(raw: Mapping[str, Any]) -> ProofSubject:
    return ProofSubject(**{item.name: str(raw[item.name]) for item in fields(ProofSubject)})


def encode_runs(runs: ProofRuns) -> bytes:
    return _document({"runs": asdict(runs)})


def encode_isolation(found: Sequence[Isolation]) -> bytes:
    return _document({"isolation": [asdict(isolation) for isolation in found]})


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


def _document(content: Mapping[str, Any]) -> bytes:
    return json.dumps({"version": _VERSION, **content}).encode()


def parsed(data: bytes) -> Mapping[str, Any]:
    """Return the document; `ValueError` when it is none of ours."""
    try:
        raw = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(raw, dict) or raw.get("version") != _VERSION:
        raise ValueError(f"not a document of version {_VERSION}")
    return raw
