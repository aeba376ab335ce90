"""Live code change inside the host: a planner that says when it is safe, and an exchange that is all or none."""

# First, and by name: while another thread of the host is in the middle of importing `typing`, this waits for it.
# `dataclasses` would only look into `sys.modules`, find half a module there, and fail.
import typing as _complete  # noqa: F401

from homeostat_agent.reload.change import Change, Module, Outcome
from homeostat_agent.reload.reloader import Reloader

__all__ = ["Change", "Module", "Outcome", "Reloader"]
