"""How hub and program begin and end: refused twice, stopped cleanly, killed, found again."""

import json
import signal
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from e2e.support.load import PLAIN, SMALL, Load, get
from e2e.support.processes import descendants, is_running, wait_for
from e2e.support.shop import FILES, MEND, MEND_OTHERWISE, Shop
from e2e.support.terminal import PROPOSALS, Terminal, wait_until_gone


def test_a_second_hub_on_the_same_state_is_refused_and_the_first_serves_on(shop, terminal):
    hub = terminal.up()
    refused = terminal.type("up", "--port", "0")
    assert refused.code == 3, refused
    assert "error[hub-running]" in refused.err and "hint:" in refused.err
    assert get(hub.url, "/health/live")[0] == 200
    told = json.loads((shop.state_dir / "run" / "hub.json").read_text())
    assert (told["url"], told["pid"]) == (hub.url, hub.process.pid)
    assert terminal.ok("proposals", "list").code == 0
    assert hub.stop() == 0


def test_a_taken_port_is_refused_with_a_way_out(terminal):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = terminal.type("up", "--port", str(taken.getsockname()[1]))
    assert refused.code == 4, refused
    assert "error[port-taken]" in refused.err and "--port 0" in refused.err
    assert not (terminal.shop.state_dir / "run" / "hub.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_hub_and_program_cleanly_and_leaves_no_process(shop, terminal, number):
    hub = terminal.up(*terminal.program())
    terminal.shop_url()
    process = terminal.wait_for_agents(hub)[0]
    family = [hub.process.pid, *descendants(hub.process.pid)]
    assert process["pid"] in family
    hub.process.send_signal(number)
    assert hub.process.wait(30) == 0, hub.log.read_text()
    wait_until_gone(*family)
    run = shop.state_dir / "run"
    assert not (run / "hub.json").exists()
    assert not list(run.glob("*.sock")) and not list(run.glob("launch-*.json"))
    assert "Traceback" not in hub.log.read_text()
    terminal.ok("verify")


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_a_hub_that_ends_while_a_change_is_proved_leaves_no_process_and_the_next_one_proves_it(tmp_path, end):
    shop = Shop.found(tmp_path / "shop", files=ENDLESS)
    terminal = Terminal(shop, tmp_path)
    try:
        hub = terminal.up()
        with terminal.client(hub.url) as client:
            body = {"title": "Mend", "rationale": "A test.", "diff": shop.diff(MEND_OTHERWISE)}
            identity = client.post(PROPOSALS, json=body).json()["proposal_id"]
        wait_for(lambda: _testing(hub.process.pid), what="tests in the sandbox")
        family = descendants(hub.process.pid)
        if end == "stopped":
            assert hub.stop() == 0, hub.log.read_text()
        else:
            hub.kill()
        wait_until_gone(*family)
        hub = terminal.up()
        wait_for(lambda: _testing(hub.process.pid), what="tests in the next hub's sandbox")
        assert terminal.proposal(hub, identity)["state"] == "validating"
        assert hub.stop() == 0
    finally:
        terminal.close()


ENDLESS = {
    **FILES,
    "tests/test_prices.py": """import time
import unittest

import shop.prices


class Endless(unittest.TestCase):
    def test_endless(self):
        while True:
            time.sleep(1)
""",
}
"""A shop whose tests never end by themselves."""


def _testing(pid):
    def command(one):
        try:
            return Path(f"/proc/{one}/cmdline").read_bytes()
        except OSError:
            return b""

    return [one for one in descendants(pid) if b"unittest" in command(one)]


def test_a_program_that_ends_by_itself_ends_the_hub_with_its_code(shop, terminal):
    (shop.root / "brief.py").write_text("import sys\nsys.exit(7)\n")
    process, log = terminal.start("up", "--port", "0", "--", sys.executable, "brief.py")
    assert process.wait(40) == 7, log.read_text()
    process, log = terminal.start("up", "--port", "0", "--", str(shop.root / "nothing-here"))
    assert process.wait(40) == 2 and "error[command-not-started]" in log.read_text()


@pytest.mark.timeout(180)
def test_a_program_serves_on_when_its_hub_is_killed_counts_what_it_drops_and_finds_the_next_hub(shop, terminal):
    hub = terminal.up(*terminal.program())
    url = terminal.shop_url()
    process = terminal.wait_for_agents(hub)[0]
    with Load(url, PLAIN) as load:
        load.wait_for(50)
        hub.kill()
        assert is_running(process["pid"])
        load.wait_for(150)

        # More is said than there is room for: the oldest is dropped, and counted.
        assert get(url, "/noise?lines=6000")[0] == 200
        for _ in range(4):
            assert get(url, SMALL[0].path)[0] == 500

        again = terminal.up()
        found = terminal.wait_for_agents(again)[0]
        assert (found["id"], found["pid"]) == (process["id"], process["pid"])
        finding = wait_for(
            lambda: [f for f in terminal.get(again, "/api/findings")["findings"] if "KeyError" in f["title"]],
            what="what the program remembered",
        )[0]
        assert finding["count"] == 4

        def dropped():
            with closing(sqlite3.connect(shop.state_dir / "homeostat.sqlite")) as database:
                (most,) = database.execute("SELECT max(json_extract(document, '$.dropped')) FROM ticks").fetchone()
            return most or 0

        assert wait_for(dropped, what="the count of what was dropped") >= 3000
        # And it takes a change from the new hub.
        identity = terminal.propose(MEND, "Mend the coupons")["proposal_id"]
        assert "on disk and live" in terminal.ok("proposals", "apply", identity).out
        assert get(url, SMALL[0].path)[0] == 200
        assert {answer.status for answer in load.answers()} == {200}, "somebody was not answered"
    assert again.stop() == 0
    assert is_running(process["pid"]), "this program was not started by the hub that was stopped"


def test_a_lock_that_a_dead_git_left_delays_the_record_and_not_the_hub(shop, terminal):
    hub = terminal.up()
    lock = shop.root / ".git" / "refs" / "heads" / "homeostat" / "proposals.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    with terminal.client(hub.url) as client:
        body = {"title": "Mend", "rationale": "A test.", "diff": shop.diff(MEND_OTHERWISE)}
        assert client.post(PROPOSALS, json=body).status_code == 201
    hub.kill()
    hub = terminal.up()
    with terminal.client(hub.url) as client:
        ready = client.get("/health/ready").json()
        assert ready["status"] == "degraded" and "recovering" in ready["problems"], ready
    doctor = terminal.type("doctor")
    assert doctor.code == 1 and "proposals.lock" in doctor.out, doctor
    lock.unlink()
    wait_for(lambda: get(hub.url, "/health/ready")[1]["status"] == "ok", what="a hub without troubles")
    terminal.ok("verify")


def test_the_state_is_private_ignored_by_git_and_says_who_may_read_it(shop, terminal):
    hub = terminal.up()
    state = shop.state_dir
    assert state.stat().st_mode & 0o777 == 0o700
    for path in (state / "keys").iterdir():
        assert path.name.endswith(".pub") or path.stat().st_mode & 0o077 == 0, path
    assert shop.git("status", "--porcelain") == ""
    assert get(hub.url, "/api/stats")[0] == 401
    assert hub.stop() == 0
    state.chmod(0o755)
    assert terminal.type("doctor").code == 1
