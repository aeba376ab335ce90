"""A change on a share of the real calls of a real service: on to all of them when it does well, back when it harms."""

import pytest
from e2e.support.load import COUPON, MANY, PLAIN, SMALL, Load
from e2e.support.processes import wait_for
from e2e.support.shop import ALL_AT_ONCE, BRANCH, HARM, MEND

STEPS = """
[canary]
steps = [20, 50]
step_s = 1
lease_s = 10
"""


PURE = """pure = ["shop/prices.py:discount_percent"]
shadow_calls = 50
"""


def with_steps(shop, steps=STEPS):
    """Have changes tried on a share of the calls first; the settings are committed, as a team would."""
    settings = shop.root / "homeostat.toml"
    settings.write_text(settings.read_text().replace(ALL_AT_ONCE, steps))
    shop.git("add", "homeostat.toml")
    shop.git("commit", "-q", "-m", "Try changes on a share of the calls first")


def canaries(entries):
    return [entry["kind"].removeprefix("proposal.") for entry in entries if "canary" in entry["kind"]]


@pytest.mark.timeout(240)
def test_a_good_change_goes_from_copies_step_by_step_to_all_calls_and_the_disk_follows_last(shop, terminal):
    with_steps(shop, STEPS + PURE)
    hub = terminal.up(*terminal.program())
    url = terminal.shop_url()
    terminal.wait_for_agents(hub)
    head = shop.head()
    with Load(url, (*PLAIN, *COUPON, *SMALL), rate=300) as load:
        load.wait_for(200)
        proposed = terminal.propose(MEND, "Mend the coupons")
        identity = proposed["proposal_id"]
        said = terminal.ok("plan", identity).out
        assert "on copies of the arguments first, and compared: shop/prices.py:discount_percent" in said
        said = terminal.ok("proposals", "apply", identity).out
        assert "running on copies of the arguments" in said
        wait_for(
            lambda: terminal.proposal(hub, identity)["canary"]["shadow"]["compared"] >= 50,
            what="50 calls compared",
            within_s=60,
        )
        held = terminal.proposal(hub, identity)["canary"]
        assert (held["percent"], held["next"], held["shadow"]["same"] > 0) == (0, "ask", True), held
        assert "returned, the old code raised (KeyError)" in terminal.ok("proposals", "show", identity).out
        assert {answer.status for answer in load.answers("small")} == {500}, "nobody gets what the new code gives"
        assert "spring10" not in str(held), "a difference is told without values"
        terminal.ok("proposals", "accept", identity, "--reason", "small letters are meant to do")
        load.wait_for(1, "small", where=lambda answer: answer.status == 200)
        assert shop.head() == head
        both = load.wait_for(1, "coupon", where=lambda answer: answer.status == 200)
        assert both
        body = terminal.wait_for_state(hub, identity, "observing", "implemented", "reverted", within_s=120)
        assert body["state"] in ("observing", "implemented"), body["state_reason"]
        after = load.wait_for(20, "coupon")
    assert {answer.status for answer in after[-10:]} == {200}
    assert {answer.status for answer in load.answers("plain")} == {200}
    assert shop.git("rev-list", "--count", f"{head}..{BRANCH}") == "1"
    said = " ".join(body["log"])
    assert said.index("20 % of the calls run it") < said.index("50 % of the calls run it") < said.index("swapped")
    terminal.ok("verify")
    assert hub.stop() == 0


@pytest.mark.timeout(240)
def test_a_harmful_change_is_taken_back_while_most_calls_never_saw_it(shop, terminal):
    with_steps(shop)
    hub = terminal.up(*terminal.program())
    url = terminal.shop_url()
    terminal.wait_for_agents(hub)
    head = shop.head()
    with Load(url, (*PLAIN, *MANY), rate=300) as load:
        load.wait_for(200)
        proposed = terminal.propose(HARM, "Refuse absurd quantities")
        identity = proposed["proposal_id"]
        terminal.ok("proposals", "apply", identity)
        body = terminal.wait_for_state(hub, identity, "reverted", "observing", "implemented", within_s=120)
        assert body["state"] == "reverted", body["state_reason"]
        assert body["application"]["automatic_revert"]
        well = load.wait_for(40, "many")
        failed = [answer for answer in load.answers("many") if answer.status == 500]
    assert {answer.status for answer in well[-20:]} == {200}
    assert failed and len(failed) < len(load.answers("many")) / 2
    assert {answer.status for answer in load.answers("plain")} == {200}
    assert shop.head() == head and shop.git("rev-list", "--count", f"{head}..{BRANCH}") == "0"
    terminal.ok("verify")
    assert hub.stop() == 0
