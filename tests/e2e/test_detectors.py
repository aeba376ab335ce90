"""Harm that both arms suffer alike: no judge of the arms can see it, and the service as a whole shows it."""

import pytest
from e2e.support.load import PLAIN, Load
from e2e.support.shop import ALL_AT_ONCE, replacing

SHORT = """
[canary]
steps = [50]
step_s = 60
lease_s = 10

[detectors]
grace_s = 5
baseline_s = 20
"""

FORGETS = replacing(
    "shop/prices.py",
    "    full = PRICES[item] * quantity\n",
    "    full = PRICES[item] * quantity\n    if quantity == 3:\n        PRICES.pop(item)  # sold out\n",
)
"""It passes the tests, and what it takes away is gone for the old code, too."""


@pytest.mark.matrix
@pytest.mark.timeout(300)
def test_a_change_that_ruins_what_both_codes_share_is_taken_back_for_the_whole_service(shop, terminal):
    settings = shop.root / "homeostat.toml"
    settings.write_text(settings.read_text().replace(ALL_AT_ONCE, SHORT))
    shop.git("add", "homeostat.toml")
    shop.git("commit", "-q", "-m", "Try changes on half of the calls first")
    hub = terminal.up(*terminal.program())
    url = terminal.shop_url()
    terminal.wait_for_agents(hub)
    head = shop.head()
    with Load(url, PLAIN, rate=100) as load:
        for _ in range(5):
            load.wait_for(500)
        assert {answer.status for answer in load.answers()} == {200}
        identity = terminal.propose(FORGETS, "Take what is sold out off the list")["proposal_id"]
        terminal.ok("proposals", "apply", identity)
        body = terminal.wait_for_state(hub, identity, "reverted", "observing", "implemented", within_s=120)
        failed = [answer for answer in load.answers() if answer.status == 500]
    assert body["state"] == "reverted" and body["application"]["automatic_revert"], body["state_reason"]
    (why,) = (line for line in body["log"] if " reverting: " in line)
    assert "health" in why and "failed with the change" not in why, why
    assert failed, "both arms suffered"
    assert shop.head() == head
    assert "sold out" not in (shop.root / "shop" / "prices.py").read_text()
    terminal.ok("verify")
    assert hub.stop() == 0
