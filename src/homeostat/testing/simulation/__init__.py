"""A seeded simulation of hub, agents and people: one seed, one run, everything real but the world around it.

Flows, beat and judge are the product's own. Store, repository, backups, prover and processes are the fakes
of `homeostat.testing`, in simulated time (`timeline`) and in bad weather (`hazards`): calls take time, fail,
lie about it, or are the hub's last. `fleet` are the program's processes, which err as the code in them does;
`people` propose good and harmful changes, decide slowly and commit in between. `oracle` knows the truth.

    python -m homeostat.testing.simulation --seed 7            # one run, with its trace
    python -m homeostat.testing.simulation --seeds 1000        # many; prints how to see a failing one again
"""
