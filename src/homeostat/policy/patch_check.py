"""Judging a patch as text: against the files that it is for where they are given, else by what it shows itself."""

from collections.abc import Collection, Mapping

from homeostat.model.change import REGULAR, ChangeKind, FileChange, FileState, TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.model.settings import PolicySettings
from homeostat.model.verdict import Denied
from homeostat.policy.check import PolicyDecision, check_change
from homeostat.policy.document import PolicyDocument, policy_in_force
from homeostat.policy.rules import RULES, syntax
from homeostat.validation.patch import PatchFile, parse_patch
from homeostat.validation.resolve import resolve

_MOST_PADDING = 100_000
"""Empty lines in the place of what a patch does not show; where a hunk is further down, numbers count from less."""

_OF_PIECES = tuple(rule for rule in RULES if rule is not syntax.RULE)
"""What a patch shows of a file is no file that could be parsed."""


def check_patch(
    diff: str | bytes,
    *,
    base: Mapping[str, bytes] | None = None,
    tree_paths: Collection[str] = (),
    document: PolicyDocument | None = None,
) -> PolicyDecision:
    """Say what the policy makes of a unified or git diff: ``allow``, ``review`` or ``block``, and why.

    `base` has the files that it is for, by path; what is not in it is not there. With it the patch must fit, and whole
    files are judged. Without, each rule sees what the patch shows, and no more. A patch that cannot be read, leads
    out of its tree or does not fit is blocked. `document` is the policy in force, else the built-in one.
    """
    policy = document or policy_in_force(PolicySettings())
    raw = diff.encode("utf-8", "surrogatepass") if isinstance(diff, str) else diff
    patch = parse_patch(raw)
    if isinstance(patch, Denied):
        return _refused(patch)
    if base is not None:
        files = {path: FileState(content=base[path], mode=REGULAR) for path in patch.paths if path in base}
        change = resolve(patch, files, tree_paths=tree_paths or tuple(base))
        return _refused(change) if isinstance(change, Denied) else check_change(policy, change)
    shown = TreeChange(files=tuple(_as_shown(item) for item in patch.files))
    decision = check_change(policy, shown, rules=_OF_PIECES)
    whole = TreeChange(files=tuple(item for item in shown.files if item.kind is ChangeKind.CREATE))
    if not whole.files:
        return decision
    parsed = check_change(policy, whole, rules=(syntax.RULE,))
    return PolicyDecision.of((*decision.findings, *parsed.findings), shown)


def _refused(denied: Denied) -> PolicyDecision:
    finding = PolicyFinding(
        rule="patch",
        severity=PolicySeverity.BLOCK,
        path="",
        line=None,
        message=f"{denied.code}: {denied.reasons[0]}",
        remedy=denied.hint or "hand in a diff as `git diff` writes it",
    )
    return PolicyDecision.of((finding,), TreeChange(files=()))


def _as_shown(item: PatchFile) -> FileChange:
    """Return the change of one file with empty lines for all that the patch does not show of it.

    Both sides have as many of them, so that lines have the numbers of the new file and none seems to be new.
    """
    before, after, end, padding = [], [], 0, 0
    for hunk in item.hunks:
        gap = min(max(hunk.old_index - end, 0), _MOST_PADDING - padding)
        end, padding = hunk.old_index + hunk.old_count, padding + gap
        before.append(b"\n" * gap + hunk.old)
        after.append(b"\n" * gap + hunk.new)
    created, deleted = item.kind is ChangeKind.CREATE, item.kind is ChangeKind.DELETE
    return FileChange(
        kind=item.kind,
        path=item.path,
        old_path=item.old_path,
        before=None if created else FileState(content=b"".join(before), mode=REGULAR),
        after=None if deleted else FileState(content=b"".join(after), mode=REGULAR),
    )
