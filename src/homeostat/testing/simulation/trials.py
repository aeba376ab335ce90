"""What must hold of changes that are tried on a share of the calls, judged by what the processes really did."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from homeostat.flows.applying import change_of
from homeostat.flows.canarying import look
from homeostat.flows.deps import Deps
from homeostat.flows.judgings import Judgings
from homeostat.model.actor import SYSTEM
from homeostat.model.canary import ShadowOutcome, Share
from homeostat.model.ledger import LedgerEntry
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.rollout.course import Ask, Wait
from homeostat.testing.memory_repository import MemoryRepository
from homeostat.testing.simulation.fleet import Fleet

S = ProposalState

_CLEAR_UNITS = 100
"""Units of the new arm, told of and kept, in which nobody may overlook a clear harm."""

_KEPT_LEASE_S = 15.0
"""A lease that is kept up also by a hub whose every call takes its time."""


class Trials:
    """Watches every canary of one run."""

    def __init__(
        self, *, world: Deps, repository: MemoryRepository, fleet: Fleet, harm_of: Callable[[Proposal], float]
    ) -> None:
        self._world = world
        self._repository = repository
        self._fleet = fleet
        self._harm_of = harm_of
        self._tried: dict[str, Proposal] = {}
        """Rows whose change may be on a share of the calls, and never was on the branch."""

    def moved(self, row: Proposal, entry: LedgerEntry) -> Iterator[str]:
        """Look at a row that has just moved."""
        application = row.application
        if row.state is S.CANARY or (row.state is S.REVERTING and application and not application.reached_branch):
            self._tried[row.id] = row
        else:
            self._tried.pop(row.id, None)
        if entry.kind == "proposal.reverted" and application is not None and not application.reached_branch:
            yield from self._given_back(row)
        if entry.kind == "proposal.canary_passed" and entry.actor == SYSTEM.id and self._harm_is_seen(row):
            yield f"{row.id[-3:]} is passed on, though its harm was told"
        yield from self._shadowed(row, entry)

    def after_event(self) -> Iterator[str]:
        """Look that branch and files are as before, where a change is only being tried."""
        for row in self._tried.values():
            assert row.application is not None
            name = row.id[-3:]
            head = self._repository.branches[self._repository.deployed]
            if self._world.commits.is_ancestor(row.application.commit, head):
                yield f"{name} is {row.state.value}, and its commit is on the branch"
            for item in change_of(self._world, row).files:
                if item.after is not None and item.before != item.after == self._repository.disk.get(item.path):
                    yield f"{name} is {row.state.value}, and {item.path} on disk has it"
            if _is_shadowed(row) and any(share.percent for share in self._shares(row)):
                yield f"{name} runs on copies, and in some process callers get what it gives"

    def at_rest(self, row: Proposal) -> Iterator[str]:
        """Look at a canary that nobody has disturbed for long: it waits for calls or for a person, or is a bug."""
        name = row.id[-3:]
        course = look(replace(self._world, judgings=Judgings()), row).course
        if not isinstance(course, Wait | Ask):
            yield f"{name} is still under canary, though it is decided: {course.reason}"
        if self._harm_is_seen(row):
            yield f"{name} is still under canary, though its harm was told: {course.reason}"
        if _is_shadowed(row):
            yield from self._shadowed_at_rest(row)
        if self._world.settings.canary.lease_s < _KEPT_LEASE_S:
            return
        for process in self._fleet.processes.values():
            if process.connected_for_s(self._world.clock.now()) < _KEPT_LEASE_S:
                continue
            loads = any(item.path in self._fleet.sources(process) for item in change_of(self._world, row).files)
            if loads and row.id not in self._fleet.routed(process):
                yield f"{name} is under canary, and process {process.id[-3:]} does not route it"

    def left_over(self) -> Iterator[str]:
        """Look for shares of changes that are under canary no more."""
        for process in self._fleet.processes.values():
            for change_id in self._fleet.routed(process):
                row = next(item for item in self._world.proposals.find(limit=10_000) if item.id == change_id)
                if row.state is not S.CANARY:
                    yield f"process {process.id[-3:]} still routes {change_id[-3:]}, which is {row.state.value}"

    def _shadowed(self, row: Proposal, entry: LedgerEntry) -> Iterator[str]:
        """Look at what follows from comparing calls on copies: by itself, only what was really found."""
        name, found = row.id[-3:], self._told(row)
        stage = row.application.canary if row.application is not None else None
        if stage is None or not stage.shadowed:
            return
        if found - self._really_found(row):
            yield f"{name}: more was told of its calls on copies than was found"
        by_itself = entry.actor == SYSTEM.id
        if entry.kind == "proposal.canary_widened" and len(stage.widened_at) == 1 and by_itself:
            if set(found) != {ShadowOutcome.SAME}:
                yield f"{name} has its first share, though on copies it did otherwise: {dict(found)}"
            if found[ShadowOutcome.SAME] < self._world.settings.canary.shadow_calls:
                yield f"{name} has its first share after {found[ShadowOutcome.SAME]} calls on copies"
        if entry.kind == "proposal.canary_passed" and not stage.widened_at:
            yield f"{name} is passed on, and no caller ever got what it gives"
        for_that = entry.kind == "proposal.canary_ended" and by_itself and "on copies" in row.state_reason
        if for_that and not found[ShadowOutcome.RAISED]:
            yield f"{name} is taken back for what it did on copies, where it raised nothing: {dict(found)}"

    def _shadowed_at_rest(self, row: Proposal) -> Iterator[str]:
        name, found = row.id[-3:], self._told(row)
        if found[ShadowOutcome.RAISED]:
            yield f"{name} still runs on copies, though it raised there"
        enough = found[ShadowOutcome.SAME] >= self._world.settings.canary.shadow_calls
        if enough and set(found) == {ShadowOutcome.SAME}:
            yield f"{name} still runs on copies, though it did the same often enough"

    def _told(self, row: Proposal) -> Counter[str]:
        """Return what the hub was told of calls on copies and has kept, without those that were passed over."""
        found: Counter[str] = Counter()
        for _, tick in self._world.canaries.ticks(row.id):
            for kind, times in (tick.shadow.calls if tick.shadow is not None else {}).items():
                if kind.outcome is not ShadowOutcome.SKIPPED:
                    found[kind.outcome] += times
        return found

    def _really_found(self, row: Proposal) -> Counter[str]:
        return sum((item.compared.get(row.id, Counter()) for item in self._fleet.served), Counter[str]())

    def _shares(self, row: Proposal) -> Iterator[Share]:
        """Yield the shares that processes have of it."""
        for process in self._fleet.processes.values():
            routed = self._fleet.routed(process).get(row.id)
            if routed is not None:
                yield routed.share

    def _given_back(self, row: Proposal) -> Iterator[str]:
        """It is said that every call runs the old code: of every process, also those that cannot be asked."""
        for process in self._fleet.processes.values():
            if row.id in self._fleet.routed(process):
                yield f"{row.id[-3:]} is given back, and process {process.id[-3:]} still routes it"

    def _harm_is_seen(self, row: Proposal) -> bool:
        """Tell whether clear harm was told in so many units that nobody may overlook it."""
        if self._harm_of(row) <= 0.2:
            return False
        ticks = [tick for _, tick in self._world.canaries.ticks(row.id)]
        new, old = [tick.canary for tick in ticks], [tick.control for tick in ticks]
        units, failed = sum(item.units for item in new), sum(sum(item.failures.values()) for item in new)
        before = sum(sum(item.failures.values()) for item in old) / max(sum(item.units for item in old), 1)
        return len(ticks) >= 6 and units >= _CLEAR_UNITS and failed / units > 0.5 and before < 0.1


def _is_shadowed(row: Proposal) -> bool:
    stage = row.application.canary if row.application is not None else None
    return row.state is S.CANARY and stage is not None and stage.is_shadow
