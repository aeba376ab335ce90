"""Who acts: a credential's owner, known outside the store only by a pseudonym."""

from dataclasses import dataclass
from enum import StrEnum

from homeostat.core.ids import ActorId


class Role(StrEnum):
    """What a credential may do."""

    OWNER = "owner"
    """A person."""

    AGENT = "agent"
    """A bot or coding agent. Never approves, whatever a policy says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A party whose credential was checked."""

    id: ActorId
    role: Role
    name: str | None
    """What people call it; `None` once it was erased. Never written to ledger or Git."""

    @property
    def is_person(self) -> bool:
        """What the credential says. What a person may do is a question for `homeostat.policy.authorization`."""
        return self.role is Role.OWNER


AT_THE_FILES = Actor(id=ActorId("person-at-the-files"), role=Role.OWNER, name=None)
"""Whoever edits the files of the checkout by hand. No credential says who that is: they can write the files."""

SYSTEM = Actor(id=ActorId("system-homeostat"), role=Role.AGENT, name="homeostat")
"""The hub itself, when nobody asked: ticks, recoveries, automatic rollbacks."""
