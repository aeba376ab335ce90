"""What each running process has loaded of the files that a person edits, and which text of them it runs.

It is known, never guessed: a file that did not change since a process started is what the process has read;
what was reloaded is what was swapped in; a process that was forked has what its parent had. Where none of these
answers (the hub was not there when the file changed), the process is asked which of two texts it runs
(`LiveProcesses.prepare`), and where that does not tell either, its text is unknown until it is started anew.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from homeostat_agent.reload.plan import plan_module

from homeostat.core.digests import Digest, digest_bytes
from homeostat.core.errors import HomeostatError, Unavailable
from homeostat.core.ids import ProcessId
from homeostat.flows.deps import Deps
from homeostat.model.ledger import LedgerEntry
from homeostat.model.process import HostProcess, LiveOutcome, RunningSource
from homeostat.model.reload import RELOAD_PREFIX, FileText, Stamp
from homeostat.ports.editing import EditedFiles
from homeostat.ports.live import EditedProcesses, LiveChange, ModuleChange
from homeostat.rollout.live import source_text

ASK_EVERY = timedelta(seconds=2)
"""How often a process is asked what it has loaded: modules are imported late, too."""

_ASK_AGAIN = timedelta(seconds=0.5)
_ASK_AGAIN_AT_MOST = timedelta(seconds=10)
"""The same for one that did not answer, twice as long each time: whoever hangs is not waited for at each turn."""

_ASK_S = 2.0
_SLACK = timedelta(milliseconds=50)
"""The clock of a file system goes in ticks; what changed so shortly before a process started may be newer."""

_KEPT_RELOADS = 20
_PAGE = 200
_MOST_ENTRIES = 20_000
_LOOK_ID = f"{RELOAD_PREFIX}look"


@dataclass(slots=True)
class _Process:
    shown: HostProcess
    loaded: frozenset[str] = frozenset()
    asked_at: datetime | None = None
    ask_next_at: datetime | None = None
    missed: int = 0
    """How often it did not answer, since it did last."""

    unread: frozenset[str] = frozenset()
    """Files that it has loaded and that could not be read when it said so: looked at again whenever it is asked."""

    runs: dict[str, bytes | None] = field(default_factory=dict)
    """Loaded file → the text that runs; None: unknown."""


class Standing:
    """One hub's memory of it. Not thread safe: whoever follows the edits owns it."""

    def __init__(self, deps: Deps, edited: EditedProcesses, files: EditedFiles) -> None:
        self.disk: dict[str, FileText] = {}
        """What lies on the disk of every watched file, as it was read last."""

        self.stamps: dict[str, Stamp | None] = {}
        """How the files were just before they were read for the first time."""

        self._deps = deps
        self._edited = edited
        self._files = files
        self._of: dict[ProcessId, _Process] = {}
        self._before: list[tuple[datetime, Mapping[ProcessId, Mapping[str, bytes | None]]]] = []
        """What processes ran before the last reloads, and when these began."""

        self._swapped: dict[ProcessId, dict[str, bytes | None]] = {}
        """What was swapped into processes before they were heard of."""

        self._recorded: Mapping[ProcessId, Mapping[str, frozenset[Digest]]] = {}
        self._recorded_since: datetime | None = None

    @property
    def paths(self) -> list[str]:
        """The files that are followed: some process has loaded them, and they could be read then."""
        return sorted({path for process in self._of.values() for path in process.runs})

    def meet(self) -> bool:
        """Ask the processes what they have loaded, where it is time to; tell whether any is new or gone."""
        now = self._deps.clock.now()
        listed = {item.id: item for item in self._deps.live.processes()}
        news = self._of.keys() - listed.keys()
        for process_id in news:
            del self._of[process_id]
        for process_id in self._swapped.keys() - listed.keys():
            del self._swapped[process_id]
        changed = bool(news)
        for process in listed.values():
            if process.connected:
                changed |= self._ask(process, now)
        return changed

    def reread(self, paths: Iterable[str]) -> frozenset[str]:
        """Read these files; return those whose content is another one than before."""
        found = {path: self._files.read(path) for path in paths}
        changed = frozenset(path for path, text in found.items() if self.disk.get(path) != text)
        self.disk |= found
        return changed

    def text(self, path: str) -> bytes | None:
        """Return what lies on the disk of a file; None where it cannot be read."""
        found = self.disk.get(path)
        return found if isinstance(found, bytes) else None

    def differing(self) -> Mapping[str, frozenset[bytes | None]]:
        """Return the files of which some process runs another text than lies on the disk, with these texts."""
        found: dict[str, set[bytes | None]] = {}
        for process in self._of.values():
            for path, text in process.runs.items():
                if text != self.disk.get(path):
                    found.setdefault(path, set()).add(text)
        return {path: frozenset(texts) for path, texts in sorted(found.items())}

    def holders(self, paths: Iterable[str]) -> tuple[ProcessId, ...]:
        """Return the processes that have loaded one of these files."""
        wanted = frozenset(paths)
        return tuple(key for key, process in self._of.items() if wanted & process.runs.keys())

    def note_swapped(self, paths: Iterable[str], *, began_at: datetime, into: Iterable[ProcessId]) -> None:
        """Take note that these processes, and so all that are known, run of these files what lies on the disk."""
        paths = tuple(paths)
        for process_id in into:
            if process_id not in self._of:  # it dialled in meanwhile, and has not said yet what it has loaded
                self._swapped.setdefault(process_id, {}).update({path: self.text(path) for path in paths})
        self._before.append((began_at, {key: dict(process.runs) for key, process in self._of.items()}))
        del self._before[:-_KEPT_RELOADS]
        self._recorded_since = None  # the ledger tells of one more
        for path in paths:
            for process in self._of.values():
                if path in process.runs:
                    process.runs[path] = self.text(path)

    def look_again(self, paths: Iterable[str]) -> None:
        """Ask which text of these files the processes run, all for whom it is not known to be the disk's."""
        for path in paths:
            text = self.text(path)
            others = [process.runs.get(path) for process in self._of.values()]
            for process in self._of.values():
                if text is not None and process.runs.get(path, text) != text:
                    olds = [process.runs[path], *others, self._of_head(path)]
                    with suppress(Unavailable):  # what it ran for all that was known, it may run still
                        process.runs[path] = self._seen(process.shown, path, text, olds)

    def _ask(self, process: HostProcess, now: datetime) -> bool:
        known = self._of.get(process.id)
        if known is None:
            known = self._of[process.id] = _Process(process)
        if known.ask_next_at is not None and now < known.ask_next_at:
            return False
        known.ask_next_at = now + min(_ASK_AGAIN * 2 ** min(known.missed, 10), _ASK_AGAIN_AT_MOST)
        known.missed += 1
        told = self._edited.loaded(process.id, timeout_s=_ASK_S)
        if told is None:
            return False
        known.ask_next_at, known.missed = now + ASK_EVERY, 0
        fresh = sorted(told.files - known.loaded)
        parent = self._of.get(told.parent) if told.parent is not None else None
        stamps = self._files.stamps(fresh)
        followed = set(self.paths)
        new = [path for path in fresh if path not in followed]
        self.stamps |= {path: stamps[path] for path in new}
        self.reread(new)
        # A text that was saved after its stamp was taken would be dated back, and pass for what the process runs.
        later = self._files.stamps(fresh)
        unread = set()
        for path in fresh:
            stamp, text = stamps[path], self.text(path)
            if stamp is None or text is None or later[path] != stamp:
                unread.add(path)
                continue
            try:
                known.runs[path] = self._first_text(known, parent, path, text, stamp)
            except Unavailable:
                return False  # it is asked again, for this file and all that were not asked about
        known.unread = frozenset(unread)
        known.loaded |= told.files - known.unread
        self._swapped.pop(process.id, None)
        known.asked_at = now
        return any(path not in unread for path in fresh)

    def _first_text(
        self, process: _Process, parent: _Process | None, path: str, text: bytes, stamp: Stamp
    ) -> bytes | None:
        """Return which text of a file a process runs that is heard of for the first time to have loaded it."""
        swapped = self._swapped.get(process.shown.id, {}).get(path)
        if swapped is not None:
            return swapped
        if process.asked_at is None and parent is not None and path in parent.runs:
            return self._of_parent(parent, process.shown, path)
        # What it had loaded by then it may have read at any time since it was started.
        read_after = (
            process.shown.started_at if path in process.unread else process.asked_at or process.shown.started_at
        )
        if stamp.changed_at + self._deps.clock.lead() + _SLACK < read_after:
            return text
        recorded = self._recorded_of(process.shown).get(path, frozenset())
        head = self._of_head(path)
        known = [item for item in (text, head) if item is not None and digest_bytes(item) in recorded]
        if len(recorded) == 1 and known:
            return known[0]
        return self._seen(process.shown, path, text, [head])

    def _of_parent(self, parent: _Process, child: HostProcess, path: str) -> bytes | None:
        for began_at, runs in self._before:
            if child.started_at <= began_at and path in runs.get(parent.shown.id, {}):
                return runs[parent.shown.id][path]
        return parent.runs.get(path)

    def _seen(self, process: HostProcess, path: str, text: bytes, olds: Iterable[bytes | None]) -> bytes | None:
        """Ask a process whether it runs this text of a file or an older one; None where it cannot be told.

        `Unavailable` (``process-not-asked``) when it does not answer, or is just loading the file.
        """
        settings = self._deps.settings.hmr
        candidates = list(dict.fromkeys(item for item in olds if item is not None and item != text)) or [text]
        for old in candidates:
            wanted = edit_change(_LOOK_ID, {path: (old, text)}, mode=settings.mode)
            if wanted is None:
                continue
            answer = self._deps.live.prepare(process.id, wanted, timeout_s=settings.timeout_s)
            seen = answer.runs
            if answer.outcome is LiveOutcome.UNREACHABLE or seen in (RunningSource.LOADING, RunningSource.CANARY):
                raise Unavailable("process-not-asked", f"process {process.pid} does not say what it runs of {path}")
            if seen in (RunningSource.NEW, RunningSource.NOT_LOADED):
                return text
            if seen is RunningSource.OLD:
                return old
            module = wanted.modules[0]
            if seen is RunningSource.EITHER and not plan_module(path, module.old_source, module.new_source).definitions:
                return text  # nothing that differs would run
        return None

    def _of_head(self, path: str) -> bytes | None:
        try:
            found = self._deps.commits.read_files(self._deps.commits.head(), (path,))[path]
        except HomeostatError:
            return None
        return None if found is None else found.content

    def _recorded_of(self, process: HostProcess) -> Mapping[str, frozenset[Digest]]:
        """Return what the ledger tells of earlier reloads of this process: file → the texts that it may run."""
        if self._recorded_since is None or process.started_at < self._recorded_since:
            self._recorded_since = min([process.started_at, *(item.shown.started_at for item in self._of.values())])
            self._recorded = replay(_entries_since(self._deps, self._recorded_since))
        return self._recorded.get(process.id, {})


def edit_change(change_id: str, texts: Mapping[str, tuple[bytes, bytes]], *, mode: str) -> LiveChange | None:
    """Return the command that carries files from one text to another; None where one is no text of Python."""
    modules = []
    for path, (old, new) in sorted(texts.items()):
        old_source, new_source = source_text(old), source_text(new)
        if old_source is None or new_source is None:
            return None
        modules.append(ModuleChange(path=path, old_source=old_source, new_source=new_source))
    return LiveChange(id=change_id, modules=tuple(modules), mode=mode)


def replay(entries: Iterable[LedgerEntry]) -> Mapping[ProcessId, Mapping[str, frozenset[Digest]]]:
    """Return which texts processes may run by the ledger: both of a reload whose end nobody wrote down."""
    found: dict[ProcessId, dict[str, frozenset[Digest]]] = {}
    for entry in entries:
        files, processes = entry.body.get("files"), entry.body.get("processes")
        if not isinstance(files, list) or not isinstance(processes, list):
            continue
        sides = {"reload.begun": ("before", "after"), "reload.done": ("after",), "reload.failed": ("before",)}
        for item in files:
            for process_id in processes:
                texts = frozenset(Digest(str(item[side])) for side in sides.get(entry.kind, ()))
                if texts:
                    found.setdefault(ProcessId(str(process_id)), {})[str(item["path"])] = texts
    return found


def _entries_since(deps: Deps, since: datetime) -> list[LedgerEntry]:
    """Return the entries about reloads from this time on, oldest first."""
    found: list[LedgerEntry] = []
    last = deps.ledger.head().size
    stop = max(last - _MOST_ENTRIES, 0)
    while last > stop:
        first = max(last - _PAGE, stop)
        page = deps.ledger.entries(after=first, limit=last - first)
        found += [entry for entry in reversed(page) if entry.kind.startswith("reload.")]
        last = 0 if page and page[0].at < since else first
    return found[::-1]
