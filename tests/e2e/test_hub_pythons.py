"""The hub itself in the other interpreters it supports: installed, then the loop on a program, live and back."""

from pathlib import Path

import pytest
from e2e.hosts.environments import ROOT, run, uv
from e2e.support.load import get
from e2e.support.shop import ALL_AT_ONCE, MEND, Shop
from e2e.support.terminal import Terminal
from interpreters import interpreter


@pytest.mark.matrix
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_hub_runs_in_this_python_too(version: str, tmp_path: Path) -> None:
    environment = tmp_path / "hub"
    run(uv(), "venv", "--quiet", "--python", interpreter(version), environment)
    run(
        uv(),
        "pip",
        "install",
        "--quiet",
        "--compile-bytecode",
        "--python",
        environment,
        "--require-hashes",
        "-r",
        ROOT / "requirements.lock",
    )
    run(uv(), "pip", "install", "--quiet", "--compile-bytecode", "--python", environment, "--no-deps", ROOT)
    homeostat = environment / "bin" / "homeostat"
    assert version in run(
        homeostat.with_name("python"), "-W", "error", "-c", "import sys, homeostat; print(sys.version)"
    )
    shop = Shop.found(tmp_path / "shop", settings=None)
    terminal = Terminal(shop, tmp_path, installed=homeostat)
    try:
        assert terminal.ok("init", "--json").json["test_command"]
        with (shop.root / "homeostat.toml").open("a") as settings:
            settings.write(ALL_AT_ONCE)  # hardly anybody calls it here
        shop.git("add", "homeostat.toml")
        shop.git("commit", "--quiet", "-m", "Put the shop under care")
        python = interpreter("3.11")
        hub = terminal.up(python, *terminal.program()[1:])
        url = terminal.shop_url()
        terminal.wait_for_agents(hub)
        for _ in range(4):
            assert get(url, "/price?item=tea&coupon=spring10")[0] == 500
        assert "shop/prices.py" in terminal.finding(hub)["title"]
        proposed = terminal.propose(MEND, "Mend the coupons")
        assert proposed["state"] == "awaiting_approval", proposed["state_reason"]
        assert "on disk and live" in terminal.ok("proposals", "apply", proposed["proposal_id"]).out
        assert get(url, "/price?item=tea&coupon=spring10")[0] == 200
        assert "reverted" in terminal.ok("revert", proposed["proposal_id"]).out
        assert get(url, "/price?item=tea&coupon=spring10")[0] == 500
        terminal.ok("verify")
        assert hub.stop() == 0, hub.log.read_text()
    finally:
        terminal.close()
