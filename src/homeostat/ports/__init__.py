"""What the flows need of the world: small Protocols, at most six methods each.

`store`, `repository`, `live` and `proving` each have a contract suite in ``tests/contract`` that runs on
the fake in `homeostat.testing` and on the adapter. `clock`, `signer` and `starter` have none.
"""
