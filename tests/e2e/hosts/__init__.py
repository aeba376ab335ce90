"""The matrix of hosts: small real programs of every kind, each broken and mended live.

`sources` are their files, `cells` what is tried, `environments` their interpreters and packages, `loop`
plays one cell from `homeostat init` to the revert, and `table` is what the docs say of all this.
"""
