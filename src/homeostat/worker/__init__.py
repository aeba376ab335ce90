"""The process that runs a host's tests for the hub: no key, no token, no database; see `__main__`."""
