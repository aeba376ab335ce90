"""What the worker says of the runs that it saw, signed with its own key.

The key is read when both runs have ended and nothing that they started is left: code of a change never runs beside a
process that has the key in its memory, and the file is not shown in any sandbox.
"""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from homeostat import __version__
from homeostat.adapters.git.command import Git
from homeostat.adapters.git.reader import tree_of
from homeostat.adapters.keys import load_signer
from homeostat.adapters.sandbox.interpreter import read_interpreter
from homeostat.audit.evidence import sign_envelope, statement
from homeostat.core.canonical_json import JsonValue
from homeostat.ports.proving import ProofJob, ProofRuns


def attest(job: ProofJob, runs: ProofRuns, *, key: Path, began_at: datetime) -> str:
    """Return the envelope; empty where there are not two runs, or nobody wants it."""
    if job.subject is None or runs.base is None or runs.candidate is None:
        return ""
    git = Git(Path(job.repository))
    base, candidate = (
        git.read("rev-parse", "--verify", tree_of(commit)).out.decode("ascii").strip()
        for commit in (job.base, job.candidate)
    )
    signer = load_signer(key)
    said = statement(
        job.subject,
        trees=(base, candidate),
        base=runs.base,
        candidate=runs.candidate,
        environment=_environment(job, runs),
        timings={"began_at": _time(began_at), "ended_at": _time(datetime.now(UTC))},
    )
    return sign_envelope(said, public_key=signer.public_key(), sign=signer.sign)


def _environment(job: ProofJob, runs: ProofRuns) -> Mapping[str, JsonValue]:
    interpreter = read_interpreter(job.python)
    return {
        "homeostat": __version__,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "sandbox": runs.sandbox,
        "python": ".".join(map(str, interpreter.version)),
        "executable": interpreter.executable,
        "test_command": job.test_command,
        "changed_modules": job.changed_modules,
        "timeout_ms": round(job.timeout_s * 1000),
        "memory_mb": job.memory_mb,
        "max_processes": job.max_processes,
    }


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")
