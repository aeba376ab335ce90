import os
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest
import uvicorn
from hub_harness import OWNER_TOKEN, Served

from homeostat.cli.main import run
from homeostat.testing.world import WORLD_SETTINGS, World

OURS = ("HOMEOSTAT_", "AETHERRA_", "VIRTUAL_ENV", "NO_COLOR", "PYTHONPATH", "GIT_")


@dataclass(frozen=True)
class Typed:
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """No variable of the machine that runs the tests reaches a command."""
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def typed(capsys):
    """Return a function that runs one command in this process, as the installed script does."""

    def type_command(*arguments):
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Typed(code, said.out, said.err)

    return type_command


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Return a fresh Git repository, which is the working folder."""
    root = tmp_path / "program"
    root.mkdir()
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", root], check=True)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def interpreter(repository):
    """Return a function that puts a virtual environment into the repository which has these packages."""

    def make(*packages, folder=".venv"):
        site = repository / folder / "site"
        for name in packages:
            (site / name).mkdir(parents=True)
            (site / name / "__init__.py").write_text("")
        python = repository / folder / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nPYTHONPATH="{site}" exec "{sys.base_prefix}/bin/python3" -S "$@"\n')
        python.chmod(0o755)

    return make


@pytest.fixture
def hub(tmp_path, repository, monkeypatch, request):
    """Serve a hub over fakes on the loopback; commands find it by the environment."""
    with Served(World(settings=getattr(request, "param", WORLD_SETTINGS)), tmp_path / "state") as served:
        config = uvicorn.Config(
            served.app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off", ws="none"
        )
        server = uvicorn.Server(config)
        listener = config.bind_socket()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        monkeypatch.setenv("HOMEOSTAT_HUB_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("HOMEOSTAT_TOKEN", OWNER_TOKEN)
        yield served
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
