"""Routes, a module for each group of resources."""

from typing import Annotated

from fastapi import Depends, Request

from homeostat.hub.auth import caller
from homeostat.hub.context import HubContext
from homeostat.model.actor import Actor


def _context(request: Request) -> HubContext:
    context = request.app.state.context
    assert isinstance(context, HubContext)
    return context


Context = Annotated[HubContext, Depends(_context)]
Caller = Annotated[Actor, Depends(caller)]
