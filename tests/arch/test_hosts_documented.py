"""The table of hosts in the docs is what the tests of the hosts check, line by line."""

from e2e.hosts.cells import CELLS
from e2e.hosts.table import table
from e2e.hosts.write_docs import written


def test_the_docs_say_of_every_host_what_its_test_checks():
    assert written() == table(CELLS), "cd tests && ../.venv/bin/python -m e2e.hosts.write_docs"


def test_no_two_hosts_have_one_name_and_some_are_played_each_time():
    assert len({cell.name for cell in CELLS}) == len(CELLS)
    assert sum(cell.always for cell in CELLS) >= 5
