"""Changes that need a restart: the program runs them without a lost request, or goes on as it was."""

import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.support.processes import descendants, is_running, wait_for
from e2e.support.shop import replacing
from e2e.support.terminal import Terminal, wait_until_gone
from e2e.support.web import (
    ASGI,
    CRASH,
    NEWER,
    SICK_ASGI,
    WORKER,
    WSGI,
    Customers,
    ask,
    found,
    free_port,
    put_on_disk,
    wait_until_served,
)

PYTHON = sys.executable


@dataclass(frozen=True)
class Server:
    """How a program is served. The address of a Unix socket is relative to the repository."""

    source: str
    command: tuple[str, ...]
    host: str = "127.0.0.1"
    unix: bool = False

    def at(self, place):
        words = {"port": str(place[1]) if not self.unix else "", "path": place if self.unix else ""}
        return [PYTHON, "-m", *(word.format(**words) for word in self.command)]


def uvicorn(*more):
    return Server(ASGI, ("uvicorn", "web:app", "--port", "{port}", "--no-access-log", *more))


def gunicorn(*more):
    return Server(WSGI, ("gunicorn", "web:app", "-b", "127.0.0.1:{port}", "--no-control-socket", *more))


SERVERS = {
    "uvicorn": uvicorn("--loop", "asyncio"),
    "uvloop": uvicorn("--loop", "uvloop"),
    "uvicorn-workers": uvicorn("--workers", "2"),
    "gunicorn": gunicorn("-w", "2"),
    "gunicorn-threads": gunicorn("-w", "2", "--threads", "4"),
    "gunicorn-unix": Server(
        WSGI, ("gunicorn", "web:app", "-b", "unix:{path}", "-w", "2", "--no-control-socket"), unix=True
    ),
    "uvicorn-unix": Server(ASGI, ("uvicorn", "web:app", "--uds", "{path}", "--no-access-log"), unix=True),
    "uvicorn-ipv6": Server(
        ASGI, ("uvicorn", "web:app", "--host", "::1", "--port", "{port}", "--no-access-log"), host="::1"
    ),
    "flask": Server(WSGI, ("flask", "--app", "web", "run", "--port", "{port}")),
    "waitress": Server(WSGI, ("waitress", "--host", "127.0.0.1", "--port", "{port}", "web:app")),
}
EVERY_TIME = ("uvicorn", "gunicorn")
NAMES = [name if name in EVERY_TIME else pytest.param(name, marks=pytest.mark.matrix) for name in SERVERS]


class Stage:
    """A program under a server, supervised by `homeostat up`, with customers."""

    def __init__(self, tmp_path, name, **settings):
        self.server = SERVERS[name]
        self.repository = found(tmp_path / "web", self.server.source, **settings)
        self.address = "web.sock" if self.server.unix else (self.server.host, free_port(self.server.host))
        self.terminal = Terminal(self.repository, tmp_path)
        self.command = self.server.at(self.address)
        if self.server.unix:
            self.address = str(self.repository.root / "web.sock")

    def __enter__(self):
        self.hub = self.terminal.up(*self.command)
        wait_until_served(self.address)
        return self

    def __exit__(self, *error):
        self.terminal.close()

    def programs(self):
        return self.terminal.get(self.hub, "/api/restart")["programs"]

    def disk(self):
        return (self.repository.root / "web.py").read_text()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", NAMES)
def test_a_change_that_needs_a_restart_goes_live_without_a_lost_request(tmp_path, name):
    with Stage(tmp_path, name) as stage:
        (program,) = stage.programs()
        family = [program["pid"], *descendants(program["pid"])]
        identity = put_on_disk(stage.terminal, stage.hub, NEWER, "A newer version")
        with Customers(stage.address) as customers:
            customers.wait_for(300)
            done = stage.terminal.type("restart", identity, "--json", within_s=200)
            assert done.code == 0, (done, stage.hub.log.read_text()[-3000:])
            after_s = time.monotonic()
            customers.wait_for(300)
        assert customers.failures() == [], stage.hub.log.read_text()[-3000:]
        assert customers.versions() == {1, 2} and customers.versions(after_s) == {2}
        wait_until_gone(*family)
        (now,) = stage.programs()
        assert now["pid"] not in family and is_running(now["pid"])
        assert done.json["changes"][0]["state"] == "observing", stage.terminal.proposal(stage.hub, identity)["log"]
        stage.terminal.ok("verify")
        if stage.server.unix:
            assert Path(stage.address).is_socket()
        assert stage.hub.stop() == 0
        wait_until_gone(now["pid"])
        left = [path.name for path in (stage.repository.state_dir / "run").iterdir()]
        assert not [name for name in left if name.startswith(("launch", "program", "parked", "stderr"))]


BAD = {
    "crash-uvicorn": ("uvicorn", CRASH, "this version does not come up"),
    "sick-uvicorn": ("uvicorn", SICK_ASGI, "/health was answered with 422"),
    "crash-gunicorn": ("gunicorn", CRASH, "Worker failed to boot"),
    "crash-workers": ("uvicorn-workers", CRASH, "does not serve"),
    "crash-flask": ("flask", CRASH, "this version does not come up"),
    "crash-uvloop": ("uvloop", CRASH, "this version does not come up"),
    "crash-threads": ("gunicorn-threads", CRASH, "Worker failed to boot"),
    "crash-gunicorn-unix": ("gunicorn-unix", CRASH, "Worker failed to boot"),
    "crash-uvicorn-unix": ("uvicorn-unix", CRASH, "this version does not come up"),
    "crash-ipv6": ("uvicorn-ipv6", CRASH, "this version does not come up"),
    "crash-waitress": ("waitress", CRASH, "this version does not come up"),
    "sick-uvloop": ("uvloop", SICK_ASGI, "/health was answered with 422"),
}
BAD_EVERY_TIME = ("sick-uvicorn",)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "name", [name if name in BAD_EVERY_TIME else pytest.param(name, marks=pytest.mark.matrix) for name in BAD]
)
def test_a_version_that_does_not_come_up_is_taken_back_and_the_old_process_serves_throughout(tmp_path, name):
    server, edit, word = BAD[name]
    with Stage(
        tmp_path,
        server,
        health_path="/health" if "sick" in name else "",
        timeout_s=15 if "sick" in name or "workers" in name else 40,
    ) as stage:
        (program,) = stage.programs()
        before = stage.disk()
        identity = put_on_disk(stage.terminal, stage.hub, edit, "A bad version")
        assert stage.disk() != before
        with Customers(stage.address) as customers:
            customers.wait_for(100)
            done = stage.terminal.type("restart", "--json", within_s=200)
            assert done.code == 1, (done, stage.hub.log.read_text()[-3000:])
            customers.wait_for(100)
        assert customers.failures() == [] and customers.versions() == {1}
        assert done.json["changes"][0]["state"] == "reverted", stage.terminal.proposal(stage.hub, identity)["log"]
        row = stage.terminal.proposal(stage.hub, identity)
        reason = row["application"]["revert_reason"]
        assert row["application"]["automatic_revert"] and word in reason, (reason, done.json)
        assert stage.disk() == before and stage.repository.git("status", "--porcelain") == ""
        assert [item["pid"] for item in stage.programs()] == [program["pid"]]
        stage.terminal.ok("verify")
        assert stage.hub.stop() == 0


@pytest.mark.timeout(240)
def test_a_worker_is_restarted_by_itself_one_after_the_other_and_goes_on_with_the_old_code_when_the_new_fails(tmp_path):
    repository = found(tmp_path / "web", WORKER, automatic=True)
    terminal = Terminal(repository, tmp_path)
    log = repository.root / "work.log"

    def works_at(version):
        """Wait until the worker writes this version, and nothing else, twenty times."""
        wait_for(
            lambda: log.exists() and log.read_text().split()[-20:] == [str(version)] * 20,
            what=f"version {version} at work",
            within_s=60,
        )

    try:
        hub = terminal.up(PYTHON, "web.py")
        works_at(1)
        proposed = terminal.propose(NEWER, "A newer version")
        terminal.ok("proposals", "apply", proposed["proposal_id"])
        works_at(2)
        terminal.wait_for_state(hub, proposed["proposal_id"], "observing")
        assert log.read_text().split() == sorted(log.read_text().split()), "both versions worked at once"
        bad = terminal.propose(
            replacing("web.py", "    while True:\n", '    raise RuntimeError("it does not work")\n    while True:\n'),
            "A bad version",
        )
        terminal.ok("proposals", "apply", bad["proposal_id"])
        terminal.wait_for_state(hub, bad["proposal_id"], "reverted")
        lines = len(log.read_text().split())
        wait_for(lambda: len(log.read_text().split()) > lines + 20, what="the worker at work again", within_s=60)
        works_at(2)
        assert hub.stop() == 0
    finally:
        terminal.close()


@pytest.mark.matrix
@pytest.mark.timeout(240)
@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_a_web_program_is_restarted_by_itself_and_goes_on_as_it_was_when_the_new_version_fails(tmp_path, good):
    with Stage(tmp_path, "uvicorn", automatic=True) as stage:
        (program,) = stage.programs()
        before = stage.disk()
        with Customers(stage.address) as customers:
            customers.wait_for(50)
            proposed = stage.terminal.propose(NEWER if good else CRASH, "A version")
            stage.terminal.ok("proposals", "apply", proposed["proposal_id"])
            stage.terminal.wait_for_state(
                stage.hub, proposed["proposal_id"], "observing" if good else "reverted", within_s=120
            )
            customers.wait_for(50)
        assert customers.failures() == [], stage.hub.log.read_text()[-3000:]
        assert customers.versions() == ({1, 2} if good else {1})
        (now,) = stage.programs()
        assert (now["pid"] == program["pid"]) is not good and is_running(now["pid"])
        assert (stage.disk() == before) is not good
        stage.terminal.ok("verify")
        assert stage.hub.stop() == 0


def test_a_program_whose_up_was_killed_is_taken_over_by_the_next_and_never_runs_twice(tmp_path):
    with Stage(tmp_path, "uvicorn") as stage:
        (program,) = stage.programs()
        stage.hub.kill()
        assert is_running(program["pid"])
        refused, log = stage.terminal.start("up", "--port", "0", "--", PYTHON, "-c", "print('another one')")
        assert refused.wait(60) == 3 and "error[program-running]" in log.read_text(), log.read_text()
        assert f"kill {program['pid']}" in log.read_text() and is_running(program["pid"])
        stage.hub = stage.terminal.up(*stage.command)
        (taken_over,) = wait_for(stage.programs, what="the program's supervisor")
        assert taken_over["pid"] == program["pid"]
        assert "took over process" in stage.hub.log.read_text()
        stage.terminal.wait_for_agents(stage.hub)
        with Customers(stage.address) as customers:
            customers.wait_for(50)
            done = stage.terminal.type("restart", "--json", within_s=200)
            assert done.code == 0, (done, stage.hub.log.read_text()[-3000:])
            customers.wait_for(50)
        assert customers.failures() == []
        wait_until_gone(program["pid"])
        (now,) = stage.programs()
        assert stage.hub.stop() == 0
        wait_until_gone(now["pid"])
        assert isinstance(ask(stage.address, timeout_s=1), str)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("phase", ["starting", pytest.param("retiring", marks=pytest.mark.matrix)])
@pytest.mark.parametrize("end", [pytest.param("comes-up", marks=pytest.mark.matrix), "crashes"])
def test_a_hub_that_is_killed_in_the_middle_of_a_restart_finds_what_became_of_it(tmp_path, phase, end):
    """The supervisor is another process (`homeostat run --supervise`), and goes on."""
    repository = found(tmp_path / "web", ASGI)
    terminal = Terminal(repository, tmp_path)
    port = free_port()
    try:
        hub = terminal.up()
        supervisor, log = terminal.start(
            "run", "--supervise", "--", PYTHON, "-m", "uvicorn", "web:app", "--port", str(port), "--no-access-log"
        )
        wait_until_served(("127.0.0.1", port))
        terminal.wait_for_agents(hub)
        identity = put_on_disk(terminal, hub, NEWER if end == "comes-up" else CRASH, "A version")
        with Customers(("127.0.0.1", port)) as customers, terminal.client(hub.url) as client:
            assert client.post("/api/restart", json={}).status_code == 202
            wait_for(lambda: f"restart: {phase}" in log.read_text() or "restart: failed" in log.read_text(), what=phase)
            hub.kill()
            wait_for(
                lambda: "restart: done" in log.read_text() or "restart: failed" in log.read_text(),
                what="its end",
                within_s=120,
            )
            hub = terminal.up()
            terminal.wait_for_state(hub, identity, "observing" if end == "comes-up" else "reverted")
            customers.wait_for(50)
        assert customers.failures() == []
        assert customers.versions() == ({1, 2} if end == "comes-up" else {1})
        assert log.read_text().count("restart: starting") == 1
        terminal.ok("verify")
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(30)
        assert hub.stop() == 0
    finally:
        terminal.close()


@pytest.mark.matrix
@pytest.mark.timeout(240)
@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_a_configured_command_restarts_a_program_that_somebody_else_supervises(tmp_path, good):
    """The somebody is a script that stands for systemd: it ends the program and starts it again."""
    port = free_port()
    script = tmp_path / "restart.sh"
    repository = found(tmp_path / "web", ASGI, command=("sh", str(script)), timeout_s=10)
    terminal = Terminal(repository, tmp_path)
    pid_file = tmp_path / "pid"
    homeostat = PYTHON.replace("/python", "/homeostat")
    script.write_text(
        f"kill $(cat {pid_file}); cd {repository.root}\n"
        f"{homeostat} run -- {PYTHON} -m uvicorn web:app --port {port} --no-access-log >/dev/null 2>&1 &\n"
        f"echo $! > {pid_file}\n"
    )
    try:
        hub = terminal.up()
        program, _ = terminal.start("run", "--", PYTHON, "-m", "uvicorn", "web:app", "--port", str(port))
        pid_file.write_text(str(program.pid))
        wait_until_served(("127.0.0.1", port))
        terminal.wait_for_agents(hub)
        identity = put_on_disk(terminal, hub, NEWER if good else CRASH, "A version")
        terminal.type("restart", within_s=200)
        terminal.wait_for_state(hub, identity, "observing" if good else "reverted", within_s=90)
        wait_for(lambda: wait_until_served(("127.0.0.1", port))["version"] == (2 if good else 1), what="the version")
        assert hub.stop() == 0
    finally:
        if pid_file.exists():
            with suppress(ProcessLookupError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)
        terminal.close()
