"""Run a host's tests on base and candidate, each in a checkout and a sandbox of its own."""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from homeostat_agent.redact import clean_text

from homeostat.adapters.git.checkout import write_checkout
from homeostat.adapters.sandbox.folder import proof_folder, sweep_stale_folders
from homeostat.adapters.sandbox.identity import unprivileged_uid, write_identity
from homeostat.adapters.sandbox.interpreter import HostInterpreter, read_interpreter
from homeostat.adapters.sandbox.layout import Site, lay_out, seen_from_inside, shown_to_all
from homeostat.adapters.sandbox.run import End, Ended, Zygote, run_in_sandbox
from homeostat.adapters.sandbox.spec import Kind, Limits, SandboxSpec, Shown
from homeostat.core.errors import InvalidInput
from homeostat.core.ids import CommitId
from homeostat.model.proof import STOPPED_FROM_OUTSIDE, TestRun
from homeostat.model.verdict import Denied
from homeostat.ports.proving import ProofJob, ProofRuns, ProofStage
from homeostat.worker.results import read_results

_OUTPUT_CHARS = 8000
_IDENTITY = "identity"
_PROBE = Path(__file__).parent / "probe"
_LIMIT_WORDS = {
    End.TIME: "it was ended after {timeout_s:g} s",
    End.MEMORY: "it was ended for using more than {tree_memory_mb} MB of memory in all",
    End.DISK: "it was ended for writing more than {disk_mb} MB",
    End.STOPPED: STOPPED_FROM_OUTSIDE,
}


def prove(
    job: ProofJob, kinds: Sequence[Kind], *, tell: Callable[[ProofStage], None] = lambda stage: None
) -> ProofRuns:
    """Run the tests on base, then on candidate, in the first of these kinds that can hold the job.

    Both run in the same kind; where they are the same commit, it is run once. `tell` hears of each run as it begins.
    Nothing is left on disk, and nothing that was started is left alive.
    """
    sweep_stale_folders()
    try:
        interpreter = read_interpreter(job.python or sys.executable)
    except InvalidInput as error:
        return _refused(f"{error.message}; {error.hint}" if error.hint else error.message)
    reasons: list[str] = []
    with proof_folder() as folder, Zygote(_shown_to_both(job, interpreter, folder)) as zygote:
        for kind in kinds:
            tell(ProofStage.BASE)
            base = _run(job, kind, interpreter, zygote, folder / f"{kind}-base", job.base)
            if isinstance(base, Denied):
                reasons.append(_words(kind, base))
                continue
            if job.candidate == job.base:
                return ProofRuns(sandbox=kind.value, base=base, candidate=base)
            tell(ProofStage.CANDIDATE)
            candidate = _run(job, kind, interpreter, zygote, folder / f"{kind}-candidate", job.candidate)
            if isinstance(candidate, Denied):
                return ProofRuns(sandbox=kind.value, base=base, candidate=None, refused=_words(kind, candidate))
            return ProofRuns(sandbox=kind.value, base=base, candidate=candidate)
    return _refused("; ".join(reasons) or "no kind of sandbox was allowed")


def _shown_to_both(job: ProofJob, interpreter: HostInterpreter, folder: Path) -> Shown:
    root = folder / "root"
    root.mkdir()
    repository = str(Path(job.repository).resolve())
    identity = write_identity(folder / _IDENTITY, unprivileged_uid())
    return shown_to_all(interpreter, repository=repository, identity=identity, limits=_limits(job), root=str(root))


def _limits(job: ProofJob) -> Limits:
    return Limits(
        timeout_s=job.timeout_s,
        memory_mb=job.memory_mb,
        tree_memory_mb=2 * job.memory_mb,
        max_processes=job.max_processes,
    )


def _refused(reason: str) -> ProofRuns:
    return ProofRuns(sandbox="", base=None, candidate=None, refused=reason)


def _words(kind: Kind, denied: Denied) -> str:
    words = f"{kind.value}: {', '.join(denied.reasons)}"
    return f"{words} ({denied.hint})" if denied.hint else words


def _run(
    job: ProofJob, kind: Kind, interpreter: HostInterpreter, zygote: Zygote, place: Path, commit: CommitId
) -> TestRun | Denied:
    """Check the commit out below `place`, run its tests and return how that went."""
    site = _site(job, place)
    write_checkout(Path(job.repository), commit, Path(site.tree))
    limits = _limits(job)
    seen = seen_from_inside(kind, site)
    present = [path for path in job.changed_modules if Path(site.tree, path).is_file()]
    config = {"root": seen.root, "modules": present}
    Path(site.probe, "config.json").write_text(json.dumps(config), "utf-8")
    spec = lay_out(
        kind,
        site=site,
        interpreter=interpreter,
        command=job.test_command,
        extra_env={
            "PYTHONPATH": seen.probe,
            "PYTEST_PLUGINS": "homeostat_probe_pytest",
            "HOMEOSTAT_PROBE_RESULTS": seen.results,
        },
        limits=limits,
        uid=unprivileged_uid(),
    )
    if not isinstance(spec, SandboxSpec):
        return spec
    ended = run_in_sandbox(spec, zygote=zygote, output_chars=2 * _OUTPUT_CHARS)
    if ended.end is End.SETUP:
        return Denied(code="sandbox-setup", reasons=(f"it could not be set up: {ended.message}",))
    return _test_run(job, limits, ended, Path(site.results), present, root=seen.root)


def _site(job: ProofJob, place: Path) -> Site:
    place.mkdir(mode=0o711)
    place.chmod(0o711)
    for name in ("tree", "results", "private", "probe", "staging"):
        (place / name).mkdir(mode=0o755)
    for source in _PROBE.glob("*.py"):
        shutil.copyfile(source, place / "probe" / source.name)
    return Site(
        repository=str(Path(job.repository).resolve()),
        tree=str(place / "tree"),
        results=str(place / "results"),
        private=str(place / "private"),
        probe=str(place / "probe"),
        identity=str(place.parent / _IDENTITY),
        staging=str(place / "staging"),
    )


def _test_run(
    job: ProofJob, limits: Limits, ended: Ended, results: Path, present: Sequence[str], *, root: str
) -> TestRun:
    found = read_results(results, exit_code=ended.code, command=job.test_command, changed_modules=present)
    problem = found.problem
    if ended.end in _LIMIT_WORDS:
        problem = _LIMIT_WORDS[ended.end].format(
            timeout_s=limits.timeout_s, tree_memory_mb=limits.tree_memory_mb, disk_mb=limits.disk_mb
        )
    return TestRun(
        exit_code=ended.code,
        timed_out=ended.end is End.TIME,
        duration_ms=ended.duration_ms,
        outcomes=found.outcomes,
        output_tail=_cleaned(ended.output_tail, root),
        ran_from_candidate=found.ran_from_candidate,
        problem=problem,
    )


def _cleaned(output: str, root: str) -> str:
    """Return the end of the output without secrets and addresses; half a line at the cut is left out.

    Paths in the checkout are shown relative to it, wherever it seemed to stand.
    """
    output = output.replace(f"{root}/", "")
    text = output[-_OUTPUT_CHARS:]
    if len(output) > _OUTPUT_CHARS:
        text = text.partition("\n")[2] or text
    return clean_text(text, max_chars=_OUTPUT_CHARS)
