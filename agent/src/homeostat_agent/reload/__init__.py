"""Live code change inside the host: a planner that says when it is safe, and an exchange that is all or none."""

from homeostat_agent.reload.change import Change, Module, Outcome
from homeostat_agent.reload.reloader import Reloader

__all__ = ["Change", "Module", "Outcome", "Reloader"]
