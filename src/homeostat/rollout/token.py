"""The rollback token of an applied change: one name for everything that taking it back moves.

The source documents give each action of a plan a token, ``rb_<action>_<id12>_<time>_<uuid8>``. Here the plan is the
change, and it has one: live code in every process, branch, checkout and status go back together or not at all, so
there is no part of a plan that could be forgotten. It is a name and no credential: who may take back is decided
elsewhere.
"""

import re

from homeostat.core.errors import InvalidInput
from homeostat.model.proposal import Proposal

PREFIX = "rb_"
_TOKEN = re.compile(r"rb_apply_([0-9a-f]{8})([0-9a-f]{4})_[0-9]{8}T[0-9]{6}Z_[0-9a-f]{8}")


def rollback_token(proposal: Proposal) -> str | None:
    """Return the token of a change that was applied, None before; it never changes."""
    application = proposal.application
    if application is None:
        return None
    time = application.at.strftime("%Y%m%dT%H%M%SZ")
    return f"rb_apply_{proposal.id.replace('-', '')[:12]}_{time}_{application.commit[:8]}"


def id_prefix_of(token: str) -> str:
    """Return the beginning of the proposal's id; `InvalidInput` for what is no token."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise InvalidInput(
            "invalid-rollback-token",
            f"{token[:80]!r} is no rollback token",
            hint="`homeostat proposals show ID` has it",
        )
    return f"{found[1]}-{found[2]}"
