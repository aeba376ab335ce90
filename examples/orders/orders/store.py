"""Where orders are kept: one SQLite file, a connection a call."""

import json
import sqlite3
from contextlib import closing

SCHEMA = "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer TEXT, items TEXT, cents INTEGER)"


class OrderStore:
    def __init__(self, path: str) -> None:
        self._path = path
        with closing(self._connect()) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(SCHEMA)

    def add(self, customer: str, items: dict, cents: int) -> int:
        with closing(self._connect()) as connection, connection:
            cursor = connection.execute(
                "INSERT INTO orders (customer, items, cents) VALUES (?, ?, ?)", (customer, json.dumps(items), cents)
            )
            return cursor.lastrowid

    def get(self, order_id: int):
        with closing(self._connect()) as connection:
            row = connection.execute("SELECT customer, items, cents FROM orders WHERE id = ?", (order_id,)).fetchone()
        return None if row is None else {"id": order_id, "items": json.loads(row[1]), "cents": row[2]}

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10)
        connection.execute("PRAGMA synchronous=OFF")
        return connection
