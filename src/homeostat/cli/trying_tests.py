"""Running the tests once on what is committed, exactly as a proof does: in the sandbox, without a network.

What passes here can prove a change; what fails here fails for every change, and is better known before the first.
"""

import os
from dataclasses import dataclass

from homeostat.adapters.git.reader import GitCommitReader
from homeostat.adapters.git.repository import open_repository
from homeostat.adapters.settings import load_settings
from homeostat.adapters.worker_process import WorkerProver
from homeostat.cli.host_python import resolve_python
from homeostat.cli.place import Place
from homeostat.cli.programs import resolve_command
from homeostat.core.errors import HomeostatError
from homeostat.model.proof import TestRun
from homeostat.ports.proving import ProofJob

AGAIN = "mend the tests, or host.test_command in homeostat.toml; `homeostat doctor --tests` tries them again"
_TAIL_CHARS = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """How the tests ended. `output` is the end of what they printed, where they did not pass."""

    passed: bool
    detail: str
    output: str = ""
    remedy: str = ""


def try_tests(place: Place) -> Tried:
    """Run the configured test command on the deployed commit. What keeps it from running is an answer too."""
    settings = load_settings(place.repository, os.environ).settings
    if not settings.host.test_command:
        return Tried(passed=False, detail="there is no test command", remedy="set host.test_command")
    try:
        python = resolve_python(place.repository, settings.host.python)
        reader = GitCommitReader(open_repository(place.repository), deployed_branch=settings.host.deployed_branch)
        head = reader.head()
        runs = WorkerProver(state_dir=place.state_dir).prove(
            ProofJob(
                repository=str(place.repository),
                base=head,
                candidate=head,
                test_command=resolve_command(python, settings.host.test_command),
                python=str(python),
                changed_modules=(),
                timeout_s=settings.proof.timeout_s,
                memory_mb=settings.proof.memory_mb,
                max_processes=settings.proof.max_processes,
            )
        )
    except HomeostatError as error:
        return Tried(passed=False, detail=f"they could not be run: {error.message}", remedy=error.hint or "")
    if runs.base is None:
        return Tried(passed=False, detail=f"they could not be run: {runs.refused}", remedy=AGAIN)
    return _judged(runs.base, runs.sandbox)


def _judged(run: TestRun, sandbox: str) -> Tried:
    where = f"in the sandbox ({sandbox}, {run.duration_ms / 1000:.1f} s)"
    passed = sum(outcome == "passed" for outcome in run.outcomes.values())
    red = sorted(test for test, outcome in run.outcomes.items() if outcome in ("failed", "error"))
    tail = run.output_tail[-_TAIL_CHARS:]
    if run.exit_code != 0:
        ended = "they did not end in time" if run.timed_out else run.problem or f"exit code {run.exit_code}"
        named = f"; failing: {', '.join(red[:5])}{' ...' if len(red) > 5 else ''}" if red else ""
        return Tried(passed=False, detail=f"the tests do not pass {where}: {ended}{named}", output=tail, remedy=AGAIN)
    if run.problem or (run.outcomes and not passed):
        why = run.problem or "no test passed"
        return Tried(passed=False, detail=f"the tests show nothing {where}: {why}", output=tail, remedy=AGAIN)
    counted = f"{passed} tests pass" if run.outcomes else "the test command succeeds, and reports no single tests,"
    return Tried(passed=True, detail=f"{counted} {where}")
