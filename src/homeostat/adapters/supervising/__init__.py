"""The supervisor of a program: starts it, stays its parent, and restarts it without a caller noticing."""
