"""Policy over HTTP: a diff before it is handed in, and who may do what with a proposal."""

import json
from dataclasses import replace

import pytest

from homeostat.cli.main import run
from homeostat.core.limits import MAX_DIFF_BYTES
from homeostat.model.settings import PolicySettings
from homeostat.policy.authorization import OF_THE_HOST, Action
from homeostat.policy.document import policy_in_force
from homeostat.testing.world import DIFF

CHECK, EXPLAIN = "/api/policy/check", "/api/policy/explain"
RUNS = "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,3 @@\n import os\n+os.system('ls')\n x = 1\n"


@pytest.mark.parametrize("diff", [RUNS, DIFF, "nothing", RUNS.replace("x.py", ".env")])
def test_a_check_answers_as_the_command_does(owner, diff, tmp_path, capsys):
    (tmp_path / "a.patch").write_text(diff)
    run(["policy", "check", "--diff", str(tmp_path / "a.patch"), "--json"])
    said = json.loads(capsys.readouterr().out)
    answer = owner.post(CHECK, json={"diff": diff})
    assert (answer.status_code, {"schema": said["schema"], **answer.json()}) == (200, said)


def test_a_check_asks_the_policy_in_force_and_stores_nothing(served, bot):
    world = served.world
    before = world.deps.ledger.head()
    assert bot.post(CHECK, json={"diff": RUNS}).json()["verdict"] == "review"
    object.__setattr__(world.deps, "policy", policy_in_force(PolicySettings(forbidden_paths=("x.py",))))
    assert bot.post(CHECK, json={"diff": RUNS}).json()["verdict"] == "block"
    assert world.deps.ledger.head() == before and world.deps.proposals.find() == []


def test_a_diff_that_is_larger_than_a_proposal_may_be_is_blocked(owner):
    body = owner.post(CHECK, json={"diff": "x" * (MAX_DIFF_BYTES + 1)}).json()
    assert body["verdict"] == "block" and body["findings"][0]["rule"] == "patch"


@pytest.mark.parametrize("body", [{}, {"diff": ""}, {"diff": 3}, {"diff": RUNS, "more": 1}, []])
def test_a_body_that_is_not_as_documented_is_a_400(owner, body):
    assert owner.post(CHECK, json=body).status_code == 400


def test_nobody_is_told_without_a_token(served):
    client = served.client(None)
    assert client.post(CHECK, json={"diff": RUNS}).status_code == 401
    assert client.get(f"{EXPLAIN}/{served.submit()}").status_code == 401


def by_action(answers):
    return {item["action"]: item for item in answers["actions"]}


def test_who_may_do_what_is_told_for_the_one_who_asks_and_for_the_agent(served, owner, bot):
    identity = served.submit()
    body = owner.get(f"{EXPLAIN}/{identity[:8]}").json()
    you, agent = by_action(body["you"]), by_action(body["agent"])
    assert set(you) == set(agent) == {action.value for action in Action if action not in OF_THE_HOST}
    assert all(item["allowed"] and item["policies"] for item in you.values())
    assert [name for name, item in agent.items() if item["allowed"]] == ["edit"]
    assert agent["approve"]["policies"] == ["agents-never-decide-what-runs"]
    assert (agent["reject"]["policies"], body["in_force"]) == ([], True)
    assert body["risk"]["consent"] == 2 and body["risk"]["score"] > 0
    assert by_action(bot.get(f"{EXPLAIN}/{identity}").json()["you"]) == agent


def test_before_a_risk_was_assessed_there_is_none_and_a_changed_policy_is_told(served, owner):
    served.paused.set()
    identity = served.submit()
    body = owner.get(f"{EXPLAIN}/{identity}").json()
    assert (body["risk"], body["findings"], body["in_force"]) == (None, [], True)
    deps = served.world.deps
    object.__setattr__(deps, "policy", replace(deps.policy, rules_version=0))
    assert owner.get(f"{EXPLAIN}/{identity}").json()["in_force"] is False


def test_of_an_unknown_proposal_nothing_is_told(owner):
    assert owner.get(f"{EXPLAIN}/00000000-0000-4000-8000-0000000000ff").status_code == 404
