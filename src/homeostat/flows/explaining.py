"""What the policies make of one proposal: who may do what with it as it stands, and by which policy."""

from dataclasses import dataclass

from homeostat.core.ids import ActorId
from homeostat.flows.deps import Deps
from homeostat.model.actor import Actor, Role
from homeostat.model.proposal import Proposal
from homeostat.policy.authorization import OF_THE_HOST, Action, Answer, question_about

_ANY_AGENT = Actor(id=ActorId("agent-any"), role=Role.AGENT, name=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MayDo:
    """What one party may do with a proposal, as far as policies go; its state may still be in the way."""

    who: ActorId
    answers: tuple[tuple[Action, Answer], ...]


def who_may(deps: Deps, proposal: Proposal, actor: Actor) -> tuple[MayDo, MayDo]:
    """Answer for the one who asks, then for an agent: the one that handed it in, where one did, else any other.

    As if a reason was given with each.
    """
    submitter = deps.actors.get(proposal.submitted_by)
    agent = submitter if submitter is not None and submitter.role is Role.AGENT else _ANY_AGENT
    return _may_do(deps, proposal, actor), _may_do(deps, proposal, agent)


def _may_do(deps: Deps, proposal: Proposal, actor: Actor) -> MayDo:
    profile = deps.settings.profile
    return MayDo(
        who=actor.id,
        answers=tuple(
            (
                action,
                deps.authorizer.answer(question_about(actor, action, proposal, profile=profile, reasoned=True)),
            )
            for action in Action
            if action not in OF_THE_HOST
        ),
    )
