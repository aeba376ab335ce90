"""The store on SQLite: rows are the truth, and each change of a row writes its ledger entry with it."""

from homeostat.adapters.store.store import SqlStore

__all__ = ["SqlStore"]
