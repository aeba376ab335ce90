"""What happens after a change was applied: harm is taken back by itself, a restart that is needed is waited for."""

import os
import signal
import stat
import sys

import pytest
from e2e.support.load import COUPON, MANY, PLAIN, Load, get
from e2e.support.processes import wait_for
from e2e.support.shop import BRANCH, HARM, ROUND_UP, Shop
from e2e.support.terminal import Terminal, wait_until_gone


def tracked(shop):
    """Return Git's mode and the bytes on disk of every file that Git knows, and its permissions."""
    names = shop.git("ls-files").splitlines()
    return {name: ((shop.root / name).read_bytes(), stat.S_IMODE((shop.root / name).stat().st_mode)) for name in names}


@pytest.mark.timeout(180)
def test_a_harmful_change_that_passes_the_tests_is_taken_back_by_itself(shop, terminal):
    hub = terminal.up(*terminal.program())
    url = terminal.shop_url()
    process = terminal.wait_for_agents(hub)[0]
    before, head = tracked(shop), shop.head()
    with Load(url, (*PLAIN, *COUPON, *MANY)) as load:
        load.wait_for(200)
        proposed = terminal.propose(HARM, "Refuse absurd quantities")
        assert proposed["state"] == "awaiting_approval", proposed["state_reason"]
        identity = proposed["proposal_id"]
        assert "on disk and live" in terminal.ok("proposals", "apply", identity).out
        load.wait_for(1, "many", where=lambda answer: answer.status == 500)
        taken_back = terminal.wait_for_state(hub, identity, "reverted", "implemented")
        assert taken_back["state"] == "reverted" and taken_back["status"] == "reverted"
        application = taken_back["application"]
        assert application["automatic_revert"] is True and "more failures" in application["revert_reason"]

        # In the process, on disk and in Git, with nobody dropped.
        well = load.wait_for(40, "many")
        assert {answer.status for answer in well} == {200}
        assert {answer.status for answer in load.answers("plain", "coupon")} == {200}
        assert {answer.status for answer in load.answers("many")} == {200, 500}
    assert get(url, "/health")[1] == {"pid": process["pid"]}
    assert tracked(shop) == before
    assert shop.git("status", "--porcelain") == ""
    assert shop.git("diff", "--stat", head, BRANCH) == ""
    assert int(shop.git("rev-list", "--count", f"{head}..{BRANCH}")) == 2
    again = terminal.type("proposals", "apply", identity)
    assert again.code == 1 and "locked out" in (again.out + again.err).lower()
    terminal.ok("verify")
    assert hub.stop() == 0


@pytest.mark.timeout(180)
def test_a_change_of_an_import_waits_for_a_restart_and_is_watched_from_there(shop, terminal):
    hub = terminal.up()
    program = terminal.run_shop()
    url = terminal.shop_url()
    terminal.wait_for_agents(hub)
    before = tracked(shop)
    odd = "/price?item=tea&quantity=1&coupon=SPRING10"

    proposed = terminal.propose(ROUND_UP, "Round discounts up")
    assert proposed["state"] == "awaiting_approval", proposed["state_reason"]
    assert proposed["plan"]["restart_reasons"]
    identity = proposed["proposal_id"]
    applied = terminal.ok("proposals", "apply", identity, "--json").json
    assert (applied["ok"], applied["restart_required"]) == (True, True)
    assert "restart required" in applied["message"]
    body = terminal.wait_for_state(hub, identity, "awaiting_restart")
    assert body["restart_required"] is True and body["status"] == "approved"

    # On disk it is, with name and mode; in the process it is not.
    assert not (shop.root / "docs" / "old.md").exists()
    assert (shop.root / "docs" / "prices.md").read_bytes() == before["docs/old.md"][0]
    assert not (shop.root / "tools" / "old.sh").exists()
    assert (shop.root / "tools" / "count.sh").stat().st_mode & 0o777 == 0o755
    assert shop.git("status", "--porcelain") == "" and "import up" in (shop.root / "shop" / "prices.py").read_text()
    assert program.poll() is None and get(url, odd)[0] == 200
    assert terminal.wait_for_agents(hub)[0]["changes"] == []

    # The owner restarts the program: from then on it is watched.
    os.killpg(program.pid, signal.SIGTERM)
    wait_until_gone(program.pid)
    program = terminal.run_shop()
    url = terminal.shop_url()
    watched = terminal.wait_for_state(hub, identity, "observing")
    assert watched["restart_required"] is False
    with Load(url, (*PLAIN, *COUPON)) as load:
        done = terminal.wait_for_state(hub, identity, "implemented", "reverted")
        assert done["state"] == "implemented", done["log"]
        assert {answer.status for answer in load.answers()} == {200}

    # Taking it back puts bytes, names and modes back at once. It is called reverted only when nobody runs it.
    waiting = terminal.type("revert", identity, "--json")
    assert (waiting.code, waiting.json["state"]) == (4, "reverting"), waiting
    assert "must be restarted" in waiting.json["state_reason"]
    assert tracked(shop) == before
    assert shop.git("status", "--porcelain") == ""
    os.killpg(program.pid, signal.SIGTERM)
    wait_until_gone(program.pid)
    terminal.run_shop()
    terminal.wait_for_state(hub, identity, "reverted")
    assert tracked(shop) == before
    terminal.ok("verify")


def test_a_program_that_was_started_with_a_change_on_disk_is_brought_back_live(shop, terminal):
    """A change that went live, a restart of the program, then a revert: the new process runs old code again."""
    hub = terminal.up()
    program = terminal.run_shop()
    url = terminal.shop_url()
    terminal.wait_for_agents(hub)
    identity = terminal.propose(HARM, "Refuse absurd quantities")["proposal_id"]
    assert "on disk and live" in terminal.ok("proposals", "apply", identity).out
    assert get(url, MANY[0].path)[0] == 500
    os.killpg(program.pid, signal.SIGTERM)
    wait_until_gone(program.pid)
    terminal.run_shop()
    url = terminal.shop_url()
    terminal.wait_for_agents(hub)
    assert get(url, MANY[0].path)[0] == 500
    typed = terminal.ok("revert", identity, "--json").json
    assert typed["state"] == "reverted" and "running processes too" in typed["state_reason"], typed["state_reason"]
    assert get(url, MANY[0].path)[0] == 200


ASYNC_APP = '''"""An asynchronous shop."""

from fastapi import FastAPI

app = FastAPI()
PRICES = {"tea": 450}


def price(item):
    return PRICES[item]


@app.get("/health")
async def health():
    return {"ok": True}


@app.get("/price/{item}")
async def get_price(item: str):
    return {"cents": price(item)}
'''

ASYNC_TESTS = """import unittest

from web import price


class Prices(unittest.TestCase):
    def test_tea(self):
        self.assertEqual(price("tea"), 450)
"""


@pytest.mark.timeout(180)
def test_an_asgi_program_under_uvicorn_is_mended_while_it_serves(tmp_path):
    files = {"web.py": ASYNC_APP, "tests/__init__.py": "", "tests/test_web.py": ASYNC_TESTS, ".gitignore": "*.pyc\n"}
    shop = Shop.found(tmp_path / "web", files=files)
    terminal = Terminal(shop, tmp_path)
    try:
        hub = terminal.up(sys.executable, "-m", "uvicorn", "web:app", "--port", "0", "--no-access-log")

        def address():
            found = [line for line in hub.log.read_text().splitlines() if "running on http" in line]
            return found[0].partition("running on ")[2].split()[0] if found else None

        url = wait_for(address, what="uvicorn to listen")
        process = terminal.wait_for_agents(hub)[0]
        wait_for(lambda: get(url, "/health")[0] == 200, what="the program to answer")
        for _ in range(5):
            assert get(url, "/price/mug")[0] == 500
        finding = terminal.finding(hub)
        assert "web.py" in finding["title"] and "/price/{item}" in str(
            terminal.get(hub, f"/api/findings/{finding['finding_id']}")
        )

        def edit(root):
            path = root / "web.py"
            path.write_text(path.read_text().replace("return PRICES[item]", "return PRICES.get(item, 0)"))

        proposed = terminal.propose(edit, "Unknown things cost nothing", "--finding", finding["finding_id"])
        assert proposed["state"] == "awaiting_approval", proposed["state_reason"]
        assert "on disk and live" in terminal.ok("proposals", "apply", proposed["proposal_id"]).out
        assert get(url, "/price/mug") == (200, {"cents": 0})
        assert terminal.wait_for_agents(hub)[0]["pid"] == process["pid"]
        terminal.ok("revert", proposed["proposal_id"])
        assert get(url, "/price/mug")[0] == 500
        terminal.ok("verify")
        assert hub.stop() == 0
        wait_until_gone(process["pid"])
    finally:
        terminal.close()
