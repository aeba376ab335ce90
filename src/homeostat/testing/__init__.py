"""Fakes that pass the contract suites of their ports, and example rows: for our tests, and for anybody's."""
