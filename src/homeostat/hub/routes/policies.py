"""What the policy makes of a diff, and who may do what with a proposal."""

from fastapi import APIRouter

from homeostat.flows.explaining import MayDo, who_may
from homeostat.hub.contract import (
    MayDoBody,
    PolicyAnswer,
    PolicyCheckBody,
    PolicyCheckRequest,
    PolicyExplainBody,
    Problem,
)
from homeostat.hub.routes import Caller, Context
from homeostat.hub.routes.proposals import find_one
from homeostat.policy.patch_check import check_patch
from homeostat.policy.telling import told_decision, told_finding, told_risk

router = APIRouter(prefix="/api/policy", tags=["policy"])


@router.post("/check", responses={400: {"model": Problem}})
def check_diff(request: PolicyCheckRequest, context: Context) -> PolicyCheckBody:
    """Say what the rules make of a diff, before anybody hands it in. They see what it shows, and no more."""
    decision = check_patch(request.diff, document=context.deps.policy)
    return PolicyCheckBody.model_validate(told_decision(decision))


@router.get("/explain/{proposal_id}", responses={404: {"model": Problem}, 409: {"model": Problem}})
def explain_proposal(proposal_id: str, context: Context, actor: Caller) -> PolicyExplainBody:
    """Tell the findings and risk of a proposal, and who may do what with it by which policy."""
    deps = context.deps
    proposal = find_one(deps, proposal_id)
    proof = proposal.proof
    you, agent = who_may(deps, proposal, actor)
    return PolicyExplainBody(
        proposal_id=proposal.id,
        title=proposal.title,
        state=proposal.state.value,
        change_digest=proposal.change.change_digest,
        profile=deps.settings.profile.value,
        in_force=proposal.change.policy_digest == deps.policy.digest,
        findings=[] if proof is None else [told_finding(item) for item in proof.policy],
        risk=None if proof is None or proof.risk is None else told_risk(proof.risk),
        you=_may_do(you),
        agent=_may_do(agent),
    )


def _may_do(answers: MayDo) -> MayDoBody:
    return MayDoBody(
        who=answers.who,
        actions=[
            PolicyAnswer(
                action=action.value, allowed=answer.allowed, policies=list(answer.policies), reason=answer.reason
            )
            for action, answer in answers.answers
        ],
    )
