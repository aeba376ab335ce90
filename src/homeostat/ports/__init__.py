"""What the flows need of the world: small Protocols, at most six methods each.

Every port has one contract suite in ``tests/contract`` that runs on the fake in
`homeostat.testing` and on each adapter.
"""
