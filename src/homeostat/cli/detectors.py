"""What the detectors over the whole service say of a change, in words for people."""

from collections.abc import Mapping
from typing import Any

CANNOT_TELL = "cannot tell"

_WORDS = {"quiet": "quiet", "holding": "holding", "fired": "fired", "noevidence": CANNOT_TELL}

WATCHED = ("canary", "observing")
"""States of a change in which detectors are asked."""


def said_of(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return of one proposal's details each detector's name, and what it says; none where they are not asked."""
    seen = body.get("canary") or body.get("observation") or {}
    return [
        (item["name"], f"{_WORDS.get(item['says'], item['says'])}: {item['reason']}")
        for item in seen.get("detectors", ())
    ]
