"""`GET .../plan`: what applying a proposal would do, whatever became of it."""

from dataclasses import replace

import pytest
from hub_harness import APPLY, PROPOSALS, UNKNOWN

from homeostat.model.settings import CanarySettings
from homeostat.testing.world import WORLD_SETTINGS

TRYING = replace(WORLD_SETTINGS, canary=CanarySettings(steps=(10, 50)))


def plan_of(client, identity):
    answer = client.get(f"{PROPOSALS}/{identity}/plan")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_plan_names_definitions_steps_and_time(serve):
    with serve(TRYING) as served:
        identity = served.submit()
        served.world.serve(seconds=120, requests=50, errors=0)
        head = served.world.deps.commits.head()
        body = plan_of(served.client(), identity[:8])
    assert (body["proposal_id"], body["state"], body["way"]) == (identity, "awaiting_approval", "share")
    assert body["modules"] == [
        {
            "path": "shop.py",
            "definitions": [
                {
                    "qualname": "price",
                    "action": "swap",
                    "line": 1,
                    "reason": "",
                    "not_routable": "",
                    "imports": [],
                    "risk": "",
                },
            ],
        }
    ]
    assert [step["percent"] for step in body["steps"]] == [10, 50]
    assert body["canary_s"] == pytest.approx(sum(step["expected_s"] for step in body["steps"]))
    assert (body["traffic"]["units"], body["traffic"]["units_per_s"]) == (6000, pytest.approx(50, rel=0.01))
    assert head == body["base_commit"]


def test_without_traffic_the_time_is_null(serve):
    with serve(TRYING) as served:
        body = plan_of(served.client(), served.submit())
    assert (body["canary_s"], {step["expected_s"] for step in body["steps"]}) == (None, {None})
    assert "no traffic" in body["steps"][0]["reason"]


def test_traffic_of_more_than_an_hour_ago_is_not_that_of_the_present(serve):
    with serve(TRYING) as served:
        identity = served.submit()
        served.world.serve(seconds=60, requests=50, errors=0)
        served.world.serve(seconds=3600, requests=0, errors=0)
        assert plan_of(served.client(), identity)["traffic"]["units"] == 0


def test_a_bot_may_ask_and_a_proposal_of_any_state_has_a_plan(served, owner, bot):
    identity = served.submit()
    before = plan_of(bot, identity)
    assert owner.post(f"{PROPOSALS}/{identity}/reject", json={"reason": "no"}).status_code == 200
    rejected = plan_of(bot, identity)
    assert (before["state"], rejected["state"]) == ("awaiting_approval", "rejected")
    assert (before["refused"], rejected["refused"]) == ("", "it is rejected")
    assert {**before, "state": "", "refused": ""} == {**rejected, "state": "", "refused": ""}
    assert before["way"] == "at_once"


def test_an_applied_proposal_has_its_plan_still(served, owner):
    identity = served.submit()
    before = plan_of(owner, identity)
    assert owner.post(APPLY, json={"proposal_id": identity}).json()["ok"]
    after = plan_of(owner, identity)
    assert after["state"] == "observing"
    assert after["modules"] == before["modules"]


def test_asking_moves_nothing(served, owner):
    identity = served.submit()
    row, commands = served.row(identity), served.world.deps.live.processes()
    plan_of(owner, identity)
    assert served.row(identity) == row and served.world.deps.live.processes() == commands


def test_a_plan_of_nothing_is_a_404(owner):
    assert owner.get(f"{PROPOSALS}/{UNKNOWN}/plan").status_code == 404
