"""The small host that the tests of this folder change while it runs."""

import pytest
from reload_host import Host


@pytest.fixture
def host(tmp_path):
    with Host.at(tmp_path) as made:
        yield made
