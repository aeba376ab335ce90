"""The main job through the command line, as a user types it: real processes, real Git, real HTTP, real sandbox."""

import stat
import time

import pytest
from e2e.support.load import COUPON, PLAIN, SMALL, Load, get
from e2e.support.shop import ALL_AT_ONCE, BRANCH, MEND, Shop
from e2e.support.terminal import PROPOSALS, Terminal, wait_until_gone

DEMANDING = (*PLAIN, *COUPON, *SMALL)
SHORT_WATCH = "\n[observation]\nwindow_s = 2\nbaseline_s = 60\nmin_requests = 40\n" + ALL_AT_ONCE


def tracked(shop):
    """Return bytes and permissions of every file that Git knows, and of every other file outside its folders."""
    return {
        path.relative_to(shop.root).as_posix(): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in sorted(shop.root.rglob("*"))
        if path.is_file() and not {".git", ".homeostat"} & set(path.relative_to(shop.root).parts)
    }


@pytest.fixture
def shop(tmp_path):
    return Shop.found(tmp_path / "shop", settings=None)


@pytest.mark.timeout(180)
def test_a_defect_is_seen_mended_live_watched_taken_back_and_verified(shop, tmp_path):
    terminal = Terminal(shop, tmp_path)
    try:
        _play(shop, terminal)
    finally:
        terminal.close()


def _play(shop, terminal):
    # homeostat init finds how the shop is run and tested, and writes one file.
    before_init = tracked(shop)
    told = terminal.ok("init").out
    assert "test command:" in told
    assert set(tracked(shop)) - set(before_init) == {"homeostat.toml"}
    settings = shop.root / "homeostat.toml"
    settings.write_text(settings.read_text() + SHORT_WATCH)
    shop.git("add", "homeostat.toml")
    shop.git("commit", "--quiet", "-m", "Put the shop under care")
    assert "homeostat.toml" in terminal.ok("config", "show").out

    hub = terminal.up(*terminal.program())
    url = terminal.shop_url()
    process = terminal.wait_for_agents(hub)[0]
    assert get(url, "/health")[1] == {"pid": process["pid"]}
    before, head, branches = tracked(shop), shop.head(), shop.git("for-each-ref", "refs/heads/main")

    with Load(url, DEMANDING) as load:
        # Errors by real HTTP become a finding.
        finding = terminal.finding(hub)
        assert "KeyError" in finding["title"] and "shop/prices.py" in finding["title"]
        assert finding["finding_id"] in terminal.ok("findings", "list").out
        assert "discount_percent" in terminal.ok("findings", "show", finding["finding_id"]).out

        # A bot proposes, and may do no more than that.
        token = terminal.ok("token", "--agent", "fixer").out.strip()
        body = {
            "title": "Accept coupons however they are typed",
            "rationale": "Customers type them in small letters.",
            "diff": shop.diff(MEND),
            "finding_id": finding["finding_id"],
        }
        with terminal.client(hub.url, token) as bot:
            answer = bot.post(PROPOSALS, json=body)
            assert answer.status_code == 201, answer.text
            identity = answer.json()["proposal_id"]
            proved = terminal.wait_for_state(hub, identity, "awaiting_approval", "blocked")
            assert proved["state"] == "awaiting_approval", proved["state_reason"]
            refused = bot.post("/api/selfimprove/apply", json={"proposal_id": identity})
            assert refused.status_code == 403, refused.text
        as_bot = {"HOMEOSTAT_TOKEN": token}
        assert terminal.type("proposals", "apply", identity, env=as_bot).code == 1
        assert proved["author"] == "fixer"
        assert proved["proof"]["sandbox"] and proved["proof"]["base"]["ran_from_candidate"] is not False
        assert proved["proof"]["candidate"]["ran_from_candidate"] is True
        assert [name for name in proved["proof"]["added_tests"] if "small_letters" in name]
        assert shop.candidates() == {identity}
        assert tracked(shop) == before and shop.head() == head

        # A person looks at it, approves and applies exactly that.
        assert "upper()" in terminal.ok("proposals", "diff", identity).out
        load.wait_for(60)
        said = terminal.ok("proposals", "apply", identity, "--digest", proved["change_digest"])
        live_s = time.monotonic()
        assert "on disk and live" in said.out and f"homeostat revert {identity[:8]}" in said.err

        # It is live at once, in the same process, and nobody was dropped on the way.
        mended = load.wait_for(40, "small")
        assert {answer.status for answer in mended} == {200}
        assert {answer.status for answer in load.answers("small", since_s=live_s)} == {200}
        assert {answer.status for answer in load.answers("plain", "coupon")} == {200}
        assert {answer.status for answer in load.answers()} == {200, 500}
        assert get(url, "/health")[1] == {"pid": process["pid"]}
        assert get(url, "/price?item=tea&coupon=%20spring10")[1] == {"cents": 405}
        assert (terminal.wait_for_agents(hub)[0]["id"], shop.git("status", "--porcelain")) == (process["id"], "")
        commit = shop.git("log", "-1", "--format=%P %B", BRANCH)
        assert commit.startswith(head) and f"Homeostat-Proposal: {identity}" in commit

        # The errors stayed away for the whole watch: only now it counts.
        done = terminal.wait_for_state(hub, identity, "implemented", "reverting", "reverted")
        assert done["state"] == "implemented", done["log"]
        assert terminal.finding(hub)["state"] == "resolved"
        assert "implemented" in terminal.ok("proposals", "list").out
        assert shop.candidates() == set()

        # One command takes it all back: bytes, modes, branch and the running process.
        assert "reverted" in terminal.ok("revert", identity, "--reason", "only a test").out
        reverted_s = time.monotonic()
        assert tracked(shop) == before
        assert shop.git("diff", "--stat", head, BRANCH) == "" and shop.git("status", "--porcelain") == ""
        assert shop.git("for-each-ref", "refs/heads/main") != branches  # undone on top, not by rewriting
        load.wait_for(20, "small")
        assert {answer.status for answer in load.answers("small", since_s=reverted_s)} == {500}
        assert {answer.status for answer in load.answers("plain", "coupon")} == {200}
        assert get(url, "/health")[1] == {"pid": process["pid"]}

        # The same bytes are not tried twice.
        locked = terminal.type("propose", "--diff", "-", "--title", "t", "--rationale", "r", env={})
        assert locked.code == 2
        with terminal.client(hub.url, token) as bot:
            again = bot.post(PROPOSALS, json={**body, "base_commit": head})
            assert again.status_code == 400 and again.json()["error"] == "Proposal locked out", again.text

    # The whole story holds, with the hub at work and without it.
    checks = terminal.ok("verify", "--json").json
    assert checks["ok"] and len(checks["checks"]) == 11
    assert "fail" not in terminal.ok("doctor").out
    children = [hub.process.pid, process["pid"]]
    assert hub.stop() == 0, hub.log.read_text()
    wait_until_gone(*children)
    terminal.ok("verify")
    assert "/homeostat/" not in hub.log.read_text(), "a traceback of the hub's own"
    assert not (shop.state_dir / "run" / "hub.json").exists()
