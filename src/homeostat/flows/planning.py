"""Looking ahead: what applying a proposal would do. Reads, and moves nothing."""

from datetime import timedelta

from homeostat.core.errors import InvalidInput
from homeostat.flows.deps import Deps
from homeostat.flows.proposing import resolve_diff
from homeostat.model.proposal import Proposal
from homeostat.model.verdict import Denied
from homeostat.rollout.foresight import Foresight, foresee

_LATELY = timedelta(hours=1)


def look_ahead(deps: Deps, proposal: Proposal) -> Foresight:
    """Say what applying this proposal would do now, whatever its state; `InvalidInput` when its diff is damaged."""
    change = resolve_diff(deps, proposal.diff.encode("utf-8"), proposal.change.base_commit)
    if isinstance(change, Denied):
        raise InvalidInput(change.code, "; ".join(change.reasons), hint=change.hint)
    now = deps.clock.now()
    return foresee(
        change,
        processes=deps.live.processes(),
        lately=deps.vitals.ticks(since=now - _LATELY, until=now),
        settings=deps.settings,
    )
