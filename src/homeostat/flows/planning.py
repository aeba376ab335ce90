"""Looking ahead: what applying a proposal would do. Reads, and moves nothing."""

import ast
from dataclasses import replace
from datetime import timedelta

from homeostat.core.errors import InvalidInput, NotFound
from homeostat.core.ids import ProposalId
from homeostat.flows.applying import check_fits
from homeostat.flows.deps import Deps
from homeostat.flows.proposing import resolve_diff
from homeostat.model.change import TreeChange
from homeostat.model.process import HostProcess
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.rollout.foresight import Foresight, Way, foresee
from homeostat.rollout.live import source_text
from homeostat.rollout.shadow import qualnames_in, unmatched

_LATELY = timedelta(hours=1)
_NOT_PROVED = frozenset({ProposalState.PENDING, ProposalState.VALIDATING})
_LIVE = frozenset({Way.SHARE, Way.AT_ONCE})
_TO_BE_APPLIED = frozenset({ProposalState.AWAITING_APPROVAL, ProposalState.APPROVED})


def look_ahead(deps: Deps, proposal: Proposal) -> Foresight:
    """Say what applying this proposal would do now, whatever its state; `InvalidInput` when its diff is damaged."""
    change = resolve_diff(deps, proposal.diff.encode("utf-8"), proposal.change.base_commit)
    if isinstance(change, Denied):
        raise InvalidInput(change.code, "; ".join(change.reasons), hint=change.hint)
    now = deps.clock.now()
    processes = deps.live.processes()
    seen = foresee(
        change,
        processes=processes,
        lately=deps.vitals.ticks(since=now - _LATELY, until=now),
        settings=deps.settings,
    )
    stale = [_stale(deps, process, change, proposal) for process in processes] if seen.way in _LIVE else []
    shadow = replace(
        seen.shadow, left_out={**seen.shadow.left_out, **(_mistyped(deps, proposal) if seen.steps else {})}
    )
    refused = _refused(deps, proposal)
    return replace(seen, shadow=shadow, refused=refused, stale=tuple(words for words in stale if words))


def _mistyped(deps: Deps, proposal: Proposal) -> dict[str, str]:
    """Say what is declared pure, by the path of one file, and is no function of it where the proposal begins."""
    found = {}
    for item in deps.settings.canary.pure:
        path = item.partition(":")[0]
        if any(sign in path for sign in "*?["):
            continue
        try:
            file = deps.commits.read_files(proposal.change.base_commit, (path,))[path]
            tree = ast.parse(source_text(file.content) or "") if file is not None else ast.Module([], [])
        except (InvalidInput, NotFound, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if unmatched((item,), [f"{path}:{name}" for name in qualnames_in(tree)]):
            found[item] = f"no function of {path} has this name" if file is not None else "there is no such file"
    return found


def _refused(deps: Deps, proposal: Proposal) -> str:
    if proposal.state in _NOT_PROVED:
        return "it is not proved yet"
    if proposal.state is ProposalState.CANARY:
        return "it is being tried on a share of the calls"
    if proposal.state not in _TO_BE_APPLIED:
        return f"it is {proposal.state.value.replace('_', ' ')}"
    fits = check_fits(deps, proposal)
    return "; ".join(fits.reasons) if isinstance(fits, Denied) else ""


def _stale(deps: Deps, process: HostProcess, change: TreeChange, proposal: Proposal) -> str:
    """Say where a process was started before a file of the change was given its present text by other than a swap.

    One that has a live change of the same files is not judged: what it runs is not what any commit says.
    """
    if process.commit is None or process.commit == proposal.change.base_commit:
        return ""
    paths = [path for path in change.touched_paths if path.endswith(".py")]
    for identity in process.changes:
        earlier = deps.proposals.get(ProposalId(identity))
        if earlier is None or not set(paths).isdisjoint(earlier.files):
            return ""
    try:
        started = deps.commits.read_files(process.commit, paths)
        present = deps.commits.read_files(proposal.change.base_commit, paths)
    except (InvalidInput, NotFound):  # a commit that is gone, as a rebase leaves it, or a link where the file was
        return ""
    moved = [path for path in paths if started[path] is not None and started[path] != present[path]]
    if not moved:
        return ""
    return f"process {process.pid} was started at {process.commit[:12]}, and {', '.join(moved)} changed since"
