"""Auto-reload: what a person saves in the checkout goes live, where the planner says that it can.

A developer's tool (`hmr.auto_reload`, profiles ``dev`` and ``test``). Whoever saves a file is author and approver of
the change, and the ledger says just that. Whenever a process runs another text than lies on the disk, all files
that differ are one change, and it is swapped into every process or into none. So what runs is always the tree of
one moment: nothing goes live beside a file that waits for a restart. Undoing is the editor's.
"""

import ast
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from homeostat_agent.reload.plan import ModulePlan, plan_module

from homeostat.core.canonical_json import JsonValue
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import Unavailable
from homeostat.core.ids import ProcessId
from homeostat.flows.deps import Deps
from homeostat.flows.restarting import restart_for_saves
from homeostat.flows.standing import Standing, edit_change
from homeostat.flows.swapping import NotSwapped, SwappedAll, swap_into_all
from homeostat.flows.transition import moved_since
from homeostat.model.actor import AT_THE_FILES
from homeostat.model.ledger import EntryDraft
from homeostat.model.proposal import MOVES_TREE, ON_TRIAL
from homeostat.model.reload import MAX_REASON_CHARS, RELOAD_PREFIX, ReloadOutcome, ReloadReport, Unreadable
from homeostat.ports.editing import EditedFiles
from homeostat.ports.live import EditedProcesses, LiveChange
from homeostat.rollout.live import source_text
from homeostat.rollout.saves import Gathering, look, watch
from homeostat.telemetry.redact import clean

MAX_FILES = 50
"""Of one change. More at once is a checkout or a rebase, for which a program is started anew."""

MEET_S = 0.5
PAUSE_S = 0.04
PAUSE_IN_A_SAVE_S = 0.01
_SHARE_OF_A_CORE = 0.02
"""What looking may take: where there are many files, it looks less often."""

_BUSY_PAUSE_S = 0.25
_QUIETLY_WAITED_S = 2.0
"""A wait is told only when it takes longer: editors make Git look at the checkout all the time."""

_RETRY_S = (1.0, 2.0, 5.0, 15.0, 60.0)
_SETTLE_TIMEOUT_S = 1.0
_MAX_VERDICTS = 200
_OWN_SLACK = timedelta(milliseconds=50)
_RECENT = timedelta(hours=1)
_NAMED = 3
_STANDING = frozenset({ReloadOutcome.RELOADED, ReloadOutcome.IN_LINE})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    """What differs now between disk and processes."""

    files: tuple[str, ...]
    texts: Mapping[str, tuple[bytes, bytes]]
    holders: tuple[ProcessId, ...]
    seen_s: float

    def digests(self) -> list[JsonValue]:
        return [
            {"path": path, "before": digest_bytes(old), "after": digest_bytes(new)}
            for path, (old, new) in self.texts.items()
        ]


class Reloading:
    """Follows the files of one checkout. One thread owns it and calls `look`; anybody may read `last`."""

    def __init__(
        self, deps: Deps, edited: EditedProcesses, files: EditedFiles, *, tell: Callable[[ReloadReport], None]
    ) -> None:
        """`tell` gets what became of each save, once."""
        self.last: ReloadReport | None = None
        self._deps = deps
        self._edited = edited
        self._files = files
        self._tell = tell
        self._standing = Standing(deps, edited, files)
        self._gathering = Gathering()
        self._meet_at_s = 0.0
        self._due = False
        self._seen_s: float | None = None
        """When what is to be reloaded was seen first."""

        self._retry_at_s = 0.0
        self._retries = 0
        self._refused: object = None
        """What differed, and in whom, when it was refused: it is not tried again as long as nothing changes."""

        self._restarted_for: object = None
        self._said: object = None
        self._noted: object = None

    def look(self) -> float:
        """Do what is due; return after how many seconds to look again."""
        now_s = self._deps.clock.monotonic_s()
        if now_s >= self._meet_at_s:
            self._meet()
            self._meet_at_s = now_s + MEET_S
        began_s = self._deps.clock.monotonic_s()
        stamps = self._files.stamps(self._standing.paths)
        pause_s = max(PAUSE_S, (self._deps.clock.monotonic_s() - began_s) / _SHARE_OF_A_CORE)
        self._gathering, save = look(self._gathering, stamps, now_s=now_s)
        if save is not None and self._standing.reread(save.files):
            self._seen_s = save.since_s if self._seen_s is None else self._seen_s
            self._due, self._retry_at_s, self._retries = True, 0.0, 0
        if self._gathering.under_way:
            return PAUSE_IN_A_SAVE_S
        if self._due and now_s >= self._retry_at_s:
            self._follow(now_s)
        return pause_s

    def _meet(self) -> None:
        for process in self._deps.live.processes():
            for change_id in process.changes if process.connected else ():
                if change_id.startswith(RELOAD_PREFIX):  # an earlier hub died before it could
                    self._edited.settle(process.id, change_id, timeout_s=_SETTLE_TIMEOUT_S)
        if self._standing.meet():
            self._gathering = watch(self._gathering, self._standing.stamps)
            self._due = True

    def _follow(self, now_s: float) -> None:
        """Bring the processes to what lies on the disk, or say why not; what waits is tried again."""
        seen_s = self._seen_s if self._seen_s is not None else now_s
        in_the_way = self._in_the_way() if self._standing.differing() else ""
        if in_the_way:
            self._retry_at_s = now_s + _BUSY_PAUSE_S
            if now_s - seen_s >= _QUIETLY_WAITED_S:
                self._report(ReloadOutcome.WAITING, tuple(self._standing.differing()), in_the_way)
        elif self._bring(seen_s) is ReloadOutcome.WAITING:
            self._retry_at_s = now_s + _RETRY_S[min(self._retries, len(_RETRY_S) - 1)]
            self._retries += 1
        else:
            self._due, self._seen_s, self._retries = False, None, 0
            return
        self._seen_s = seen_s

    def _bring(self, seen_s: float) -> ReloadOutcome | None:
        """Say what became of all that differs; None where nothing does, or it was refused before."""
        own = self._own()
        several = {path for path, texts in self._standing.differing().items() if len(texts) > 1}
        self._standing.look_again(own | several)
        differing = self._standing.differing()
        mine = tuple(path for path in differing if path not in own)
        if not mine:
            if self.last is not None and self.last.outcome not in _STANDING and not differing:
                self._report(ReloadOutcome.IN_LINE, self.last.files)
            self._refused = None
            return None
        listed = frozenset(item.id for item in self._deps.live.processes())
        key = (tuple((path, self._standing.disk[path], differing[path]) for path in differing), listed)
        if key == self._refused:
            return None
        outcome = self._unreadable(mine) or self._waits_for_a_restart(differing, own)
        if outcome is None:
            texts = {path: (_only(differing[path]), self._standing.text(path) or b"") for path in mine}
            edit = _Edit(files=mine, texts=texts, holders=self._standing.holders(mine), seen_s=seen_s)
            outcome = self._carry_out(edit)
        self._refused = key if outcome not in (ReloadOutcome.RELOADED, ReloadOutcome.WAITING) else None
        return outcome

    def _in_the_way(self) -> str:
        if self._files.git_is_at_work():
            return "Git is at work in this checkout (`.git/index.lock`)"
        lost = [str(item.pid) for item in self._deps.live.processes() if not item.connected]
        if lost:
            return f"process {', '.join(lost[:_NAMED])} cannot be reached"
        states = MOVES_TREE | ON_TRIAL
        for proposal in self._deps.proposals.find(states=states, limit=1):
            # Which of both did harm could not be told, and what is on disk now may not be what stays.
            return f"proposal {proposal.id[:8]} is {proposal.state.value.replace('_', ' ')}, and goes first"
        return ""

    def _own(self) -> frozenset[str]:
        """Return the files that differ because the hub itself wrote them: an application or a revert put them there."""
        differing = self._standing.differing()
        if not differing:
            return frozenset()
        stamps = self._files.stamps(differing)
        lead = self._deps.clock.lead()
        own = set()
        for row in moved_since(self._deps, self._deps.clock.now() - _RECENT):
            application = row.application
            if application is None:
                continue
            settled_at = application.files_back_at or application.on_disk_at or row.updated_at
            for path in differing.keys() & set(row.files):
                stamp = stamps[path]
                if stamp is not None and _is_within(stamp.changed_at + lead, application.at, settled_at):
                    own.add(path)
        return frozenset(own)

    def _unreadable(self, files: tuple[str, ...]) -> ReloadOutcome | None:
        reasons = {path: self._why_unreadable(path) for path in files}
        found = [f"{path}: {reason}" for path, reason in reasons.items() if reason]
        return self._report(ReloadOutcome.UNREADABLE, files, "; ".join(found[:_NAMED])) if found else None

    def _why_unreadable(self, path: str) -> str:
        content = self._standing.disk[path]
        if isinstance(content, Unreadable):
            return content.reason
        source = source_text(content)
        if source is None:
            return "it is no text that Python reads (its encoding)"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what a developer's text deserves, their own tools say
                ast.parse(source)
        except SyntaxError as error:
            where = f"line {error.lineno}: " if error.lineno else ""
            return f"{where}{error.msg}"
        except (ValueError, RecursionError, MemoryError) as error:
            return f"it cannot be parsed ({type(error).__name__})"
        return ""

    def _waits_for_a_restart(
        self, differing: Mapping[str, frozenset[bytes | None]], own: frozenset[str]
    ) -> ReloadOutcome | None:
        """Refuse what cannot be one change from one text of each file to another."""
        files = tuple(differing)
        reason = ""
        if len(files) > MAX_FILES:
            reason = f"{len(files)} files differ at once, and more than {MAX_FILES} are not swapped"
        elif own & differing.keys():
            reason = f"{min(own & differing.keys())} waits for a restart with a proposal"
        else:
            for path, texts in differing.items():
                if None in texts:
                    reason = f"{path} changed before this hub looked, and what runs of it is not known"
                elif len(texts) > 1:
                    reason = f"processes run different texts of {path}"
        return self._needs_restart(files, reason) if reason else None

    def _carry_out(self, edit: _Edit) -> ReloadOutcome:
        change_id = f"{RELOAD_PREFIX}{self._deps.ids.new_uuid()}"
        wanted = edit_change(change_id, edit.texts, mode=self._deps.settings.hmr.mode)
        if wanted is None:
            return self._needs_restart(edit.files, "what runs is no text that Python reads")
        plans = [plan_module(item.path, item.old_source, item.new_source, mode=wanted.mode) for item in wanted.modules]
        reasons = [reason for plan in plans for reason in plan.restart_reasons]
        if reasons:
            return self._needs_restart(edit.files, "; ".join(reasons))
        began_at = self._deps.clock.now()
        # Journal before anything moves: a hub that comes after a crash reads from it what may run.
        self._note("reload.begun", wanted, edit, verdicts=_verdicts(plans))
        try:
            done = swap_into_all(self._deps, wanted, quick=True)
        except Unavailable as error:
            # Some process may run it, and did not say so: the next look finds what runs there.
            self._standing.look_again(edit.files)
            return self._report(ReloadOutcome.WAITING, edit.files, error.message)
        if isinstance(done, NotSwapped):
            self._note("reload.failed", wanted, edit, reason=done.reason)
            if done.passing:
                return self._report(ReloadOutcome.WAITING, edit.files, done.reason)
            if done.needs_restart:
                return self._needs_restart(edit.files, done.reason)
            return self._report(ReloadOutcome.FAILED, edit.files, done.reason)
        return self._stands(wanted, edit, done, began_at)

    def _stands(self, wanted: LiveChange, edit: _Edit, done: SwappedAll, began_at: datetime) -> ReloadOutcome:
        self._standing.note_swapped(edit.files, began_at=began_at, into=done.processes)
        took_ms = (self._deps.clock.monotonic_s() - edit.seen_s) * 1000
        functions: list[JsonValue] = [*done.functions[:_MAX_VERDICTS]]
        self._note("reload.done", wanted, edit, functions=functions, swap_us=done.slowest_us, took_ms=round(took_ms))
        for process_id in done.processes:
            self._edited.settle(process_id, wanted.id, timeout_s=_SETTLE_TIMEOUT_S)
        return self._report(
            ReloadOutcome.RELOADED,
            edit.files,
            functions=tuple(done.functions),
            processes=len(edit.holders),
            took_ms=took_ms,
        )

    def _needs_restart(self, files: tuple[str, ...], reason: str) -> ReloadOutcome:
        on_disk = self._on_disk(files)
        if self._noted != (on_disk, reason):  # processes that come and go make no other save of it
            self._note_refusal(files, reason)
            self._noted = (on_disk, reason)
        if self._restarted_for == on_disk:
            return self._report(ReloadOutcome.RESTARTING, files, reason)  # once for each text, or it never ends
        if restart_for_saves(self._deps):
            self._restarted_for = on_disk
            return self._report(ReloadOutcome.RESTARTING, files, reason)
        return self._report(ReloadOutcome.RESTART_NEEDED, files, reason)

    def _report(
        self,
        outcome: ReloadOutcome,
        files: tuple[str, ...],
        reason: str = "",
        *,
        functions: tuple[str, ...] = (),
        processes: int = 0,
        took_ms: float = 0.0,
    ) -> ReloadOutcome:
        """Tell what became of a save; the same of the same texts is told once."""
        report = ReloadReport(
            at=self._deps.clock.now(),
            outcome=outcome,
            files=files,
            reason=_told(reason),
            functions=functions,
            processes=processes,
            took_ms=took_ms,
        )
        told = (report.outcome, report.reason, self._on_disk(files) if outcome is not ReloadOutcome.WAITING else None)
        self.last = report
        if outcome in _STANDING or told != self._said:
            self._tell(report)
        self._said = told
        return outcome

    def _on_disk(self, files: tuple[str, ...]) -> object:
        return tuple((path, self._standing.disk.get(path)) for path in files)

    def _note(self, kind: str, wanted: LiveChange, edit: _Edit, **facts: JsonValue) -> None:
        self._append(kind, wanted.id, files=edit.digests(), processes=[*map(str, edit.holders)], **facts)

    def _note_refusal(self, files: tuple[str, ...], reason: str) -> None:
        named = files[:MAX_FILES]
        self._append(
            "reload.refused",
            f"{RELOAD_PREFIX}{self._deps.ids.new_uuid()}",
            files=[{"path": path, "after": digest_bytes(self._standing.text(path) or b"")} for path in named],
            processes=[*map(str, self._standing.holders(named))],
            reason=reason,
        )

    def _append(self, kind: str, subject: str, **facts: JsonValue) -> None:
        if isinstance(facts.get("reason"), str):
            facts["reason"] = _told(str(facts["reason"]))
        body: dict[str, JsonValue] = {
            "author": AT_THE_FILES.id,
            "approved_by": AT_THE_FILES.id,
            "consent": "saved by hand in the checkout; no credential was checked, nothing was proved",
            "profile": self._deps.settings.profile.value,
            **facts,
        }
        self._deps.ledger.append(EntryDraft(kind=kind, actor=AT_THE_FILES.id, subject=subject, body=body))


def _told(reason: str) -> str:
    """Return a reason as it may be kept: it may name a key that stands in the file without its quotes."""
    return clean(reason)[:MAX_REASON_CHARS]


def _only(texts: frozenset[bytes | None]) -> bytes:
    (found,) = texts
    assert found is not None
    return found


def _is_within(changed_at: datetime, begins_at: datetime, ends_at: datetime) -> bool:
    return begins_at - _OWN_SLACK <= changed_at <= ends_at + _OWN_SLACK


def _verdicts(plans: list[ModulePlan]) -> list[JsonValue]:
    found: list[JsonValue] = [
        {
            "path": plan.path,
            "definition": item.qualname,
            "verdict": item.action,
            **({"risk": item.risk} if item.risk else {}),
        }
        for plan in plans
        for item in plan.definitions
    ]
    return found[:_MAX_VERDICTS]
