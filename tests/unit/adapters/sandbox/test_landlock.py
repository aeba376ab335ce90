"""What is asked of each version of Landlock."""

import struct

import pytest

from homeostat.adapters.sandbox.landlock import handled_access, ruleset_attributes


@pytest.mark.parametrize(("abi", "rights"), [(1, 13), (2, 14), (3, 15), (4, 15), (5, 16), (7, 16)])
def test_every_right_that_a_version_knows_is_withheld_and_no_other(abi, rights):
    assert handled_access(abi) == (1 << rights) - 1


@pytest.mark.parametrize(("abi", "size"), [(1, 8), (3, 8), (4, 16), (5, 16), (6, 24), (7, 24)])
def test_attributes_are_as_long_as_the_version_knows(abi, size):
    assert len(ruleset_attributes(abi)) == size


def test_network_and_scopes_are_withheld_where_they_can_be():
    assert struct.unpack("=QQQ", ruleset_attributes(6))[1:] == (0b11, 0b11)
