"""Asking who may: every door of the product that somebody knocks at comes through here."""

from collections.abc import Iterable

from homeostat.flows.deps import Deps
from homeostat.model.actor import Actor
from homeostat.model.proposal import Proposal
from homeostat.model.verdict import Denied
from homeostat.policy.authorization import Action, Answer, question_about


def ask(
    deps: Deps,
    actor: Actor,
    action: Action,
    proposal: Proposal | None = None,
    *,
    paths: Iterable[str] = (),
    reason: str = "",
) -> Answer | Denied:
    """Return the answer that allows it, with the policies that did, or the refusal.

    `paths` are those that would be touched besides the proposal's own.
    """
    question = question_about(
        actor,
        action,
        proposal,
        profile=deps.settings.profile,
        paths=paths,
        reasoned=bool(reason.strip()),
    )
    answer = deps.authorizer.answer(question)
    return answer.refusal() or answer
