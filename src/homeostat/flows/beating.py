"""What the hub does by itself at each beat: watch applied changes, catch Git up, take up what got stuck."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta

from homeostat.core.errors import HomeostatError, Unavailable
from homeostat.flows.deps import Deps
from homeostat.flows.observing import WATCHED, observe, oldest_vitals_needed
from homeostat.flows.recording import catch_up
from homeostat.flows.recovering import recover
from homeostat.flows.restarting import watch_restarts
from homeostat.flows.transition import read_readable
from homeostat.flows.troubles import Troubles
from homeostat.model.proposal import ON_TRIAL, ProposalState

_log = logging.getLogger(__name__)

RECOVER_EVERY = 20
"""Beats between two looks for flows that got stuck."""

RENEW_EVERY = 4
"""Beats between two renewals of a canary's leases: many times in the shortest lease that can be set."""

_OBSERVING = "observing"
_NAMED = 5
_PRUNE_EVERY = 7200
_KEEP_VITALS = timedelta(hours=26)
"""A day and a margin: later detectors compare with the same hours of the day before."""


def beat(deps: Deps, troubles: Troubles, count: int, *, chores: Mapping[str, Callable[[], object]]) -> bool:
    """Do everything that is due at beat `count`; return whether the next beat is awaited by something.

    An activity that fails is noted and tried again at its next beat. `chores` are small things by name
    that are done at each look for stuck flows.
    """
    due: dict[str, Callable[[], object]] = {
        _OBSERVING: lambda: _observe(deps, renew=count % RENEW_EVERY == 0),
        "restarting": lambda: watch_restarts(deps, look_anyway=count % RECOVER_EVERY == 0),
    }
    if troubles.is_due("recording", count):
        due["recording"] = lambda: catch_up(deps)
    if count % RECOVER_EVERY == 0:
        due |= {"recovering": lambda: _recover(deps, troubles), **chores}
    if count % _PRUNE_EVERY == 0:
        due["pruning"] = lambda: _prune(deps)
    in_hand = False
    for activity, work in due.items():
        in_hand |= _try(troubles, activity, work)
    if "recording" in due:
        troubles.put_off("recording", count, most=RECOVER_EVERY)
    return in_hand


def heed(deps: Deps, troubles: Troubles) -> None:
    """Look at canaries between two beats: some of their calls were counted, and harm lasts until it is seen.

    What fails is trouble of the beats: each of them looks at the same canaries, too, and knows when it is over.
    """
    _try(troubles, _OBSERVING, lambda: _observe(deps, renew=False, states=ON_TRIAL), between=True)


def _observe(deps: Deps, *, renew: bool, states: frozenset[ProposalState] = WATCHED) -> int:
    watched, unreadable = read_readable(deps.proposals, states=states)
    troubled = [str(error) for error in unreadable]
    for proposal in watched:
        try:
            observe(deps, proposal.id, renew=renew)
        except HomeostatError as error:  # the others are watched all the same
            troubled.append(f"{proposal.id}: {error}")
    if troubled:
        raise Unavailable("not-observed", "; ".join(troubled[:_NAMED]))
    return len(watched)


def _recover(deps: Deps, troubles: Troubles) -> int:
    under_way = recover(deps)
    troubles.settle(under_way)
    return len(under_way)


def _prune(deps: Deps) -> None:
    needed = oldest_vitals_needed(deps)
    before = deps.clock.now() - _KEEP_VITALS
    before = before if needed is None else min(before, needed)
    deps.vitals.prune(before=before)
    deps.canaries.prune(before=before)


def _try(troubles: Troubles, activity: str, work: Callable[[], object], *, between: bool = False) -> bool:
    """Do it; return whether it failed or had something in hand.

    It is tried again twice a second: the same failure is written to the log once, until it ends. Done for some only
    `between` two times, it says nothing of the rest: trouble that is known of stays as it was told.
    """
    try:
        found = work()
    except HomeostatError as error:
        if _is_news(troubles, activity, error, between=between):
            _log.warning("[SI] %s: %s", activity, error)
    except Exception as error:  # a process edge: the beat must go on, and the trouble is shown
        if _is_news(troubles, activity, error, between=between):
            _log.exception("[SI] %s failed", activity)
    else:
        if not between:
            troubles.clear(activity)
        return bool(found)
    return True


def _is_news(troubles: Troubles, activity: str, error: Exception, *, between: bool) -> bool:
    return not (between and activity in troubles.last) and troubles.note_error(activity, error)
