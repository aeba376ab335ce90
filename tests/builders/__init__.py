"""Small builders of model values for tests."""

from dataclasses import replace
from datetime import UTC, datetime

from homeostat.core.digests import Digest
from homeostat.core.ids import ActorId, CommitId, ProposalId
from homeostat.model.actor import Actor, Role
from homeostat.model.change import REGULAR, ChangeKind, FileChange, FileState, TreeChange
from homeostat.model.proposal import Category, Proposal, ProposalState, Severity
from homeostat.model.settings import PolicySettings
from homeostat.policy.document import policy_in_force
from homeostat.rollout.consent import change_ref

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OWNER = Actor(id=ActorId("person-0123456789ab"), role=Role.OWNER, name="Ada")
BOT = Actor(id=ActorId("agent-0123456789ab"), role=Role.AGENT, name="fixer-bot")
BASE = CommitId("a" * 40)
DIFF = "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"
POLICY = policy_in_force(PolicySettings())
POLICY_DIGEST = Digest("sha256:" + "5" * 64)
"""Of some policy or other: records must not change with the rules."""


def state(text: str | bytes) -> FileState:
    return FileState(content=text if isinstance(text, bytes) else text.encode(), mode=REGULAR)


def modify(path: str, before: str, after: str) -> FileChange:
    return FileChange(kind=ChangeKind.MODIFY, path=path, old_path=path, before=state(before), after=state(after))


def create(path: str, after: str | bytes) -> FileChange:
    return FileChange(kind=ChangeKind.CREATE, path=path, old_path=path, before=None, after=state(after))


def delete(path: str, before: str) -> FileChange:
    return FileChange(kind=ChangeKind.DELETE, path=path, old_path=path, before=state(before), after=None)


def rename(old: str, new: str, before: str, after: str | None = None) -> FileChange:
    return FileChange(
        kind=ChangeKind.RENAME,
        path=new,
        old_path=old,
        before=state(before),
        after=state(before if after is None else after),
    )


def tree(*files: FileChange) -> TreeChange:
    return TreeChange(files=files)


def proposal(**changes: object) -> Proposal:
    made = Proposal(
        id=ProposalId("11111111-2222-3333-4444-555555555555"),
        version=1,
        revision=1,
        title="Mend x",
        rationale="x is wrong",
        category=Category.BUGFIX,
        severity=Severity.MEDIUM,
        author=BOT.id,
        submitted_by=BOT.id,
        created_at=NOW,
        updated_at=NOW,
        state=ProposalState.PENDING,
        state_reason="handed in",
        change=change_ref(BASE, DIFF.encode(), POLICY_DIGEST),
        diff=DIFF,
        files=("x.py",),
    )
    return replace(made, **changes)  # type: ignore[arg-type]
