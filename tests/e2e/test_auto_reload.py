"""A developer saves a file and the running program has it: real files, processes, editors and a killed hub."""

import os
import signal
import sys
import urllib.request
from contextlib import suppress

import pytest
from e2e.support.load import get
from e2e.support.processes import wait_for
from e2e.support.shop import FILES, SETTINGS, Shop
from e2e.support.web import free_port

DEVELOPING = 'profile = "dev"\n' + SETTINGS.replace("enabled = true", "enabled = true\nauto_reload = true")
PRICES = "shop/prices.py"
FREE = FILES[PRICES].replace("return full - ", "return 0 * full - ")
DOUBLE = FILES[PRICES].replace("return full - ", "return 2 * full - ")
MORE = FREE.replace("PRICES = {", 'PRICES = {"pot": 900, ')


@pytest.fixture
def shop(tmp_path):
    return Shop.found(tmp_path / "shop", settings=DEVELOPING)


def save(shop, name, text):
    """Write as most editors do: another file first, which then takes the place of the old one."""
    part = shop.root / f"{name}.swp"
    part.write_text(text)
    part.replace(shop.root / name)


def wait_for_price(url, cents, item="mug"):
    wait_for(lambda: get(url, f"/price?item={item}")[1] == {"cents": cents}, what=f"the {item} at {cents}")


def wait_for_line(hub, *words):
    def said():
        return [line for line in hub.log.read_text().splitlines() if all(word in line for word in words)]

    return wait_for(said, what=f"a line with {words}")


def kinds(terminal):
    """Return what the ledger has of reloads, oldest first."""
    import sqlite3

    with sqlite3.connect(f"file:{terminal.shop.state_dir}/homeostat.sqlite?mode=ro", uri=True) as database:
        rows = database.execute("SELECT kind FROM ledger WHERE kind LIKE 'reload.%' ORDER BY seq").fetchall()
    return [kind for (kind,) in rows]


@pytest.mark.timeout(120)
def test_what_is_saved_answers_and_what_cannot_be_swapped_is_said_and_restarted(shop, terminal):
    hub = terminal.up(*terminal.program())
    url = terminal.shop_url()
    before = terminal.wait_for_agents(hub)[0]
    wait_for_line(hub, "auto-reload is on")

    save(shop, PRICES, FREE)
    wait_for_price(url, 0)
    (line,) = wait_for_line(hub, "reloaded shop/prices.py: price in 1 process, ")
    save(shop, PRICES, FREE.replace("return 0 *", "return (0 *"))
    wait_for_line(hub, "not reloaded: shop/prices.py: line 19: '(' was never closed")
    save(shop, PRICES, MORE)
    wait_for_line(hub, "not reloaded: shop/prices.py:5: ", "homeostat restart")
    wait_for_price(url, 0)
    status = terminal.ok("status").out
    assert "auto-reload" in status and "not reloaded: shop/prices.py" in status
    assert terminal.wait_for_agents(hub)[0]["id"] == before["id"]

    terminal.ok("restart")
    wait_for_price(url, 0, "pot")
    wait_for_line(hub, "shop/prices.py: what is saved is what runs")
    save(shop, PRICES, MORE.replace("return 0 *", "return 3 *"))
    wait_for_price(url, 2700, "pot")
    assert terminal.ok("doctor").code == 0
    assert terminal.ok("verify").code == 0
    assert kinds(terminal) == ["reload.begun", "reload.done", "reload.refused", "reload.begun", "reload.done"]
    assert hub.stop() == 0
    assert line.endswith(" ms")


@pytest.mark.timeout(120)
def test_a_killed_hub_misses_nothing_that_is_saved(shop, terminal):
    hub = terminal.up()
    terminal.run_shop()
    url = terminal.shop_url()
    terminal.wait_for_agents(hub)
    save(shop, PRICES, FREE)
    wait_for_price(url, 0)
    shop.git("commit", "--quiet", "-am", "Give it away")
    hub.kill()
    save(shop, PRICES, DOUBLE)
    hub = terminal.up()
    wait_for_price(url, 2400)
    save(shop, PRICES, FREE)
    wait_for_price(url, 0)
    os.truncate(shop.root / PRICES, 0)
    (shop.root / PRICES).write_text(DOUBLE)
    wait_for_price(url, 2400)
    assert terminal.ok("doctor").code == 0


@pytest.mark.timeout(120)
def test_a_statement_runs_again_in_the_program_where_risks_are_taken(shop, terminal):
    settings = DEVELOPING.replace("auto_reload = true", 'auto_reload = true\nmode = "aggressive"')
    shop.write("homeostat.toml", settings.format(python=sys.executable))
    hub = terminal.up(*terminal.program())
    url = terminal.shop_url()
    before = terminal.wait_for_agents(hub)[0]
    wait_for_line(hub, "auto-reload is on")
    save(shop, PRICES, DOUBLE)
    wait_for_price(url, 2400)
    for cents in (900, 901):
        save(shop, PRICES, DOUBLE.replace("PRICES = {", f'PRICES = {{"pot": {cents}, '))
        wait_for_price(url, 2 * cents, "pot")
    wait_for_line(hub, "reloaded shop/prices.py: PRICES in 1 process, ")
    assert terminal.wait_for_agents(hub)[0]["id"] == before["id"]


def test_where_others_are_served_it_is_refused_with_what_to_do_instead(shop, terminal):
    shop.write("homeostat.toml", DEVELOPING.replace('"dev"', '"prod"'))
    refused = terminal.type("up")
    assert refused.code == 2
    assert "`hmr.auto_reload` is for the profiles dev and test, and this is prod" in refused.err
    assert "homeostat propose" in refused.err


ANSWERS = "def number():\n    return {number}\n"
WEB = """
import os

from answers import number


def app(environ, start_response):
    data = f"{os.getpid()} {number()}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(data)))])
    return [data]
"""


class Workers:
    """Two workers of gunicorn that answer with a number out of one file."""

    def __init__(self, terminal, shop, *more):
        port = free_port()
        self._path = shop.root / "answers.py"
        self._url = f"http://127.0.0.1:{port}/"
        at = ("-b", f"127.0.0.1:{port}", "--no-control-socket", "-w", "2")
        self.hub = terminal.up(sys.executable, "-m", "gunicorn", "web:app", *at, *more)
        self.wait_for(0)

    def answers(self):
        """Return which workers answer, and with what."""
        found = set()
        with suppress(OSError):
            for _ in range(20):
                with urllib.request.urlopen(self._url, timeout=5) as answer:
                    found.add(tuple(map(int, answer.read().split())))
        return found

    def wait_for(self, value):
        def both():
            found = self.answers()
            return len(found) == 2 and {number for _, number in found} == {value} and found

        return wait_for(both, what=f"two workers that answer {value}")

    def save(self, value):
        self._path.write_text(ANSWERS.format(number=value))
        return self.wait_for(value)


@pytest.mark.matrix
@pytest.mark.timeout(300)
@pytest.mark.parametrize("more", [(), ("--preload",)])
def test_workers_run_one_text_whatever_becomes_of_them_and_of_the_file(tmp_path, terminal, more):
    files = {"web.py": WEB, "answers.py": ANSWERS.format(number=0), ".gitignore": "__pycache__/\n.homeostat/\n"}
    settings = 'profile = "dev"\n[hmr]\nenabled = true\nauto_reload = true\ntimeout_s = 2.0\n'
    terminal.shop = shop = Shop.found(tmp_path / "numbers", files=files, settings=settings)
    workers = Workers(terminal, shop, *more)
    path = shop.root / "answers.py"
    for value in range(1, 30):  # nobody waits for an answer in between
        path.write_text(ANSWERS.format(number=value))
    workers.wait_for(29)
    (one, _), _ = workers.save(30)
    os.kill(one, signal.SIGKILL)  # another is forked in its place
    workers.wait_for(30)
    (one, _), _ = workers.save(31)
    os.kill(one, signal.SIGSTOP)
    path.write_text(ANSWERS.format(number=32))
    wait_for_line(workers.hub, "not reloaded yet: answers.py")
    os.kill(one, signal.SIGCONT)
    workers.wait_for(32)
    path.unlink()
    path.mkdir()
    wait_for_line(workers.hub, "it is not a file any more")
    path.rmdir()
    workers.save(33)
    path.write_bytes(b"\xff\xfe\x00")
    wait_for_line(workers.hub, "its encoding")
    os.truncate(path, 100 << 20)
    wait_for_line(workers.hub, "104857600 bytes")
    workers.save(34)
    assert "ok\tconsistency" in terminal.type("doctor").out
