"""Hosts of every kind, each broken and mended live: `make test` plays some, `make hosts` all of them."""

import pytest
from e2e.hosts.cells import CELLS
from e2e.hosts.loop import play


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "cell", [pytest.param(cell, id=cell.name, marks=[] if cell.always else [pytest.mark.matrix]) for cell in CELLS]
)
def test_the_host_is_found_broken_and_mended_live_in_every_process(cell, tmp_path):
    play(cell, tmp_path)
