"""One file that holds a whole state directory, signed: what `homeostat backup` writes and `homeostat restore` reads."""
