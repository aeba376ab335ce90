"""`pip install .` from a clone gives a working `homeostat` command, with all that it needs at run time.

The dependencies are put into the fresh environment from the lock (by uv where it is at hand, from its
cache); then pip itself builds and installs the project from a copy of its sources, as a user does.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.support.load import get
from e2e.support.shop import ALL_AT_ONCE, MEND, Shop, environment
from e2e.support.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
INSTALL_S = 400.0


def run(*command: "str | Path", cwd: Path = ROOT) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=_with_index(),
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def _with_index() -> dict[str, str]:
    """A user's environment, with what this machine says about where packages come from."""
    told = {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_", "REQUESTS_"))}
    return environment(**(told | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The `bin` folder of a fresh virtual environment with the project installed into it by pip."""
    folder = tmp_path_factory.mktemp("installed")
    copy, fresh = folder / "clone", folder / "fresh"
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    run(sys.executable, "-m", "venv", fresh)
    _install_locked(fresh)
    run(fresh / "bin" / "python", "-m", "pip", "install", "--quiet", ".", cwd=copy)
    shutil.rmtree(copy)  # nothing of the clone may be needed any more
    yield fresh / "bin"
    shutil.rmtree(folder)


def _install_locked(fresh: Path) -> None:
    """Install what the project depends on, in the locked versions, so that pip finds it satisfied."""
    lock = ROOT / "requirements.lock"
    uv = shutil.which("uv", path=os.pathsep.join((str(ROOT / ".tools" / "uv" / "bin"), os.environ["PATH"])))
    if uv:
        run(uv, "pip", "install", "--quiet", "--python", fresh, "--require-hashes", "-r", lock)
    else:
        run(fresh / "bin" / "python", "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock)


@pytest.mark.timeout(INSTALL_S + 60)
def test_the_installed_command_says_its_version_and_its_dependencies_agree(installed: Path, tmp_path: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert run(installed / "homeostat", "--version", cwd=tmp_path).strip() == version
    run(installed / "python", "-m", "pip", "check", cwd=tmp_path)


@pytest.mark.timeout(INSTALL_S + 60)
def test_what_is_needed_at_run_time_came_along_and_the_clone_did_not(installed: Path, tmp_path: Path) -> None:
    script = """
import json, pathlib, sys
import homeostat, homeostat_agent
import homeostat.adapters.store.migrations.versions as versions
here = pathlib.Path(homeostat.__file__).parent
agent = pathlib.Path(homeostat_agent.__file__).parent
orders = here / "cli" / "demo" / "orders"
print(json.dumps({
    "homeostat": str(here), "agent": str(agent),
    "orders": sorted(str(p.relative_to(orders)) for p in orders.rglob("*") if p.is_file() and p.suffix != ".pyc"),
    "migrations": [p.name for p in pathlib.Path(versions.__file__).parent.glob("r*.py")],
    "probes": sorted(p.name for p in (here / "worker" / "probe").glob("*.py")),
    "bootstrap": (agent / "bootstrap" / "sitecustomize.py").is_file(),
    "typed": (here / "py.typed").exists(),
}))
"""
    told = json.loads(run(installed / "python", "-c", script, cwd=tmp_path))
    fresh = str(installed.parent)
    assert told["homeostat"].startswith(fresh) and told["agent"].startswith(fresh)
    sources = ROOT / "src" / "homeostat" / "cli" / "demo" / "orders"
    shipped = {str(path.relative_to(sources)) for path in sources.rglob("*") if path.is_file()}
    assert set(told["orders"]) == {name for name in shipped if "__pycache__" not in name}
    versions = ROOT / "src" / "homeostat" / "adapters" / "store" / "migrations" / "versions"
    assert sorted(told["migrations"]) == sorted(path.name for path in versions.glob("r*.py"))
    probes = ROOT / "src" / "homeostat" / "worker" / "probe"
    assert told["probes"] == sorted(path.name for path in probes.glob("*.py"))
    assert told["bootstrap"] and told["typed"]


@pytest.mark.timeout(INSTALL_S + 120)
def test_the_installed_command_takes_a_repository_under_care_and_changes_its_program_live(
    installed: Path, tmp_path: Path
) -> None:
    """The program runs in another environment than the hub: its own interpreter, without Homeostat in it."""
    shop = Shop.found(tmp_path / "shop", settings=None)
    terminal = Terminal(shop, tmp_path, installed=installed / "homeostat")
    try:
        found = terminal.ok("init", "--json").json
        assert found["test_command"] and Path(found["file"]) == shop.root / "homeostat.toml"
        with (shop.root / "homeostat.toml").open("a") as settings:
            settings.write(ALL_AT_ONCE)  # hardly anybody calls it here
        shop.git("add", "homeostat.toml")
        shop.git("commit", "--quiet", "-m", "Put the shop under care")
        own = tmp_path / "own"
        run(sys.executable, "-m", "venv", "--without-pip", own)
        settings = shop.root / "homeostat.toml"
        assert f'python = "{found["python"]}"' in settings.read_text()
        hub = terminal.up(str(own / "bin" / "python"), *terminal.program()[1:])
        url = terminal.shop_url()
        terminal.wait_for_agents(hub)
        proposed = terminal.propose(MEND, "Mend the coupons")
        assert proposed["state"] == "awaiting_approval", proposed["state_reason"]
        assert "on disk and live" in terminal.ok("proposals", "apply", proposed["proposal_id"]).out
        assert get(url, "/price?item=tea&coupon=spring10")[0] == 200
        terminal.ok("verify")
        assert hub.stop() == 0, hub.log.read_text()
    finally:
        terminal.close()
