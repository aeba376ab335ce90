"""The hub's end of the agents: the door they dial, and what a program is started with."""
