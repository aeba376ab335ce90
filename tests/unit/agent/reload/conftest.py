"""The small host that the tests of this folder change while it runs."""

import gc

import pytest
from canary_scene import Clock, Requests
from homeostat_agent.reload import Reloader
from reload_host import Host
from shadow_scene import Shadowed


@pytest.fixture(autouse=True)
def the_tests_own_thresholds():
    """A reloader that is not asked again, and whose agent's turns do not come, would leave its own behind."""
    usual = gc.get_threshold()
    yield
    gc.set_threshold(*usual)


@pytest.fixture
def host(tmp_path):
    with Host.at(tmp_path) as made:
        yield made


@pytest.fixture
def clock(host):
    """Return the clock of the host's leases, which stands still."""
    clock = Clock()
    host.reloader = Reloader(str(host.root), patience_s=0.3, clock_s=clock)
    return clock


@pytest.fixture
def requests():
    return Requests()


@pytest.fixture
def shadow(host, clock):
    made = []

    def make(old, new, *functions):
        made.append(Shadowed(host, clock, old, new, *functions))
        return made[-1]

    yield make
    for item in made:
        item.host.reloader.rollback(item.change.id)
