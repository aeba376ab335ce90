"""What a person was shown last of a proposal: an approval that names no digest is of that, and of nothing later.

Without it, whoever edits a proposal between `proposals diff` and `proposals approve` would be approved unseen.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from homeostat.adapters.folders import read_regular
from homeostat.cli.hub_client import segment
from homeostat.cli.place import Place
from homeostat.core.errors import Conflict

_MAX_BYTES = 200


def remember_shown(place: Place, body: dict[str, Any]) -> None:
    """Note the change that was shown. Where there is no state directory (the hub is elsewhere), nothing is."""
    file = _file(place, body)
    with suppress(OSError):
        if file.parent.parent.is_dir():
            file.parent.mkdir(mode=0o700, exist_ok=True)
            file.write_text(str(body["change_digest"]), encoding="utf-8")


def digest_to_approve(place: Place, body: dict[str, Any]) -> str:
    """Return the digest of the proposal as it stands; `Conflict` when something else was shown last."""
    current = str(body["change_digest"])
    try:
        shown = read_regular(_file(place, body), most_bytes=_MAX_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return current
    if shown != current:
        short = str(body["proposal_id"])[:8]
        raise Conflict(
            "changed-since-shown",
            f"proposal {short} was changed since it was shown here: {shown} then, {current} now",
            hint=f"look at `homeostat proposals diff {short}`, then decide again",
        )
    return current


def _file(place: Place, body: dict[str, Any]) -> Path:
    return place.state_dir / "run" / "shown" / segment(str(body["proposal_id"]))
