"""The one table that says how each family of errors leaves the house.

HTTP status, exit code of the command line, and the label in metrics follow from the family alone.
The codes are listed in docs/reference/errors.md, for people; an architecture test compares that page
with every place in the code that raises one.
"""

from dataclasses import dataclass

from homeostat.core import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How the errors of one family are shown outside."""

    http_status: int
    exit_code: int
    label: str


FAMILIES: dict[type[errors.HomeostatError], Family] = {
    errors.InvalidInput: Family(http_status=400, exit_code=2, label="invalid_input"),
    errors.NotPermitted: Family(http_status=403, exit_code=1, label="not_permitted"),
    errors.NotFound: Family(http_status=404, exit_code=1, label="not_found"),
    errors.Conflict: Family(http_status=409, exit_code=3, label="conflict"),
    errors.Unavailable: Family(http_status=503, exit_code=4, label="unavailable"),
    errors.OutcomeUnknown: Family(http_status=500, exit_code=6, label="outcome_unknown"),
    errors.IntegrityFailure: Family(http_status=500, exit_code=5, label="integrity"),
    errors.Bug: Family(http_status=500, exit_code=1, label="bug"),
}


def family_of(error: errors.HomeostatError) -> Family:
    """Return how this error leaves the house; an error outside the families is shown as a bug."""
    return FAMILIES.get(type(error), FAMILIES[errors.Bug])
