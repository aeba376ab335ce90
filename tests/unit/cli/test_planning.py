"""`homeostat plan`: what it says before anything moves."""

import json
from dataclasses import replace

import pytest

from homeostat.model.settings import CanarySettings, HmrMode
from homeostat.testing.world import DIFF, WORLD_SETTINGS

TRYING = replace(WORLD_SETTINGS, canary=CanarySettings(steps=(10, 50)))
RISKY = replace(TRYING, hmr=replace(TRYING.hmr, mode=HmrMode.AGGRESSIVE))
LAYOUT = "--- a/shop.py\n+++ b/shop.py\n@@ -1,2 +1,3 @@\n+# prices\n def price(coupon):\n     return PRICES[coupon]\n"
TOP = "--- a/shop.py\n+++ b/shop.py\n@@ -5 +5 @@\n-PRICES = {'A': 1}\n+PRICES = {'A': 2}\n"
PROMPT = "--- /dev/null\n+++ b/prompts/greeting.txt\n@@ -0,0 +1 @@\n+Hello\n"


@pytest.mark.parametrize("hub", [TRYING], indirect=True)
def test_the_verdict_the_steps_and_the_time_are_said(hub, typed):
    identity = hub.submit()
    hub.world.serve(seconds=120, requests=50, errors=1)
    answer = typed("plan", identity[:8])
    assert answer.code == 0
    for words in (
        "goes live: on a share of the calls first",
        "swap",
        "shop.py:1",
        "price",
        "50 requests/s in 2 min 0 s, 120 of 6000 failed",
        "10 % of the calls: about ",
        "50 % of the calls: about ",
        "all calls after about ",
        "sooner, where fewer calls fail with the change than without it",
        "then watched for 1 min 0 s",
    ):
        assert words in answer.out, words
    assert "nothing has moved" in answer.err


@pytest.mark.parametrize("hub", [RISKY], indirect=True)
def test_each_risk_of_an_aggressive_plan_is_named(hub, typed):
    answer = typed("plan", hub.submit(TOP))
    assert "goes live: all calls at once" in answer.out
    assert "risk (hmr.mode = aggressive): shop.py:5 PRICES: what it did before is not undone" in " ".join(
        answer.out.split()
    )
    assert "runs in the running module: `PRICES = {'A': 2}`" in answer.out
    (module,) = json.loads(typed("plan", hub.submit(TOP), "--json").out)["modules"]
    assert [bool(item["risk"]) for item in module["definitions"]] == [True]


@pytest.mark.parametrize("hub", [TRYING], indirect=True)
def test_no_traffic_is_said_plainly(hub, typed):
    answer = typed("plan", hub.submit())
    assert "no traffic was seen within the last hour" in answer.out
    assert "10 % of the calls: it will hold and ask: never: there is no traffic" in answer.out
    assert "all calls after" not in answer.out


@pytest.mark.parametrize(
    ("diff", "words"),
    [
        (DIFF, ("all calls at once", "canary.steps")),
        (LAYOUT, ("all calls at once", "no definition differs")),
        (
            TOP,
            (
                "live after a restart",
                "live after `homeostat restart`",
                "<module>",
                "a statement of the module's top level changed",
            ),
        ),
        (PROMPT, ("live after a restart", "read at start only: prompts/greeting.txt")),
    ],
)
def test_every_way_is_in_words(hub, typed, diff, words):
    answer = typed("plan", hub.submit(diff))
    assert answer.code == 0
    assert all(word in answer.out for word in words), answer.out


def test_json_is_the_answer_of_the_hub(hub, typed):
    identity = hub.submit()
    body = json.loads(typed("plan", identity, "--json").out)
    assert (body["proposal_id"], body["way"]) == (identity, "at_once")


def test_an_unknown_proposal_is_a_refusal(hub, typed):
    answer = typed("plan", "00000000-0000-4000-8000-00000000dead")
    assert answer.code != 0 and "does not exist" in answer.err


def test_what_would_be_refused_now_is_said_first(hub, typed):
    identity = hub.submit()
    assert "not now" not in typed("plan", identity).out
    assert hub.client().post("/api/selfimprove/apply", json={"proposal_id": identity}).json()["ok"]
    assert typed("plan", identity).out.splitlines()[1] == "  not now: it is observing"
