"""What the end-to-end tests stand on: a small shop, a user's terminal, processes that end, and load."""
