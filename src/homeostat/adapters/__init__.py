"""The ports on real things: SQLite, Git, sandboxes, agents' sockets, keys and settings on disk, DBOS."""
