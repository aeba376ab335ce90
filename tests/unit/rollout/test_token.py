"""Rollback tokens, and proposals found by them."""

import re

import pytest

from homeostat.core.errors import InvalidInput
from homeostat.flows.applying import request_apply
from homeostat.flows.proposing import Submission, submit
from homeostat.rollout.token import id_prefix_of, rollback_token
from homeostat.testing.world import BOT, DIFF, OWNER, World


def test_an_applied_change_has_a_token_of_the_documented_form_that_leads_back_to_it():
    world = World()
    proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    world.run()
    assert rollback_token(proposal) is None
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    token = rollback_token(world.deps.proposals.get(proposal.id))
    assert re.fullmatch(r"rb_apply_[0-9a-f]{12}_\d{8}T\d{6}Z_[0-9a-f]{8}", token)
    assert proposal.id.startswith(id_prefix_of(token))


@pytest.mark.parametrize("text", ["rb_", "rb_apply_", "rb_apply_00000000000_20260110T143200Z_00000000", "rb_apply_%"])
def test_what_is_no_token_is_refused(text):
    with pytest.raises(InvalidInput) as caught:
        id_prefix_of(text)
    assert caught.value.code == "invalid-rollback-token"
