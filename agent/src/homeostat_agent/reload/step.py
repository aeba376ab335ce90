"""What a swap and a rollback have in common: the plans of a change, a look through the process, emptied caches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Union

from homeostat_agent.haste import Haste
from homeostat_agent.reload.census import Census, Files, Load, Memory, running, take_census
from homeostat_agent.reload.change import Change
from homeostat_agent.reload.descriptions import describe
from homeostat_agent.reload.exchange import Binding
from homeostat_agent.reload.naming import bind_names, old_texts
from homeostat_agent.reload.neighbours import Neighbours
from homeostat_agent.reload.patience import Patience
from homeostat_agent.reload.plan import ModulePlan, compile_plan
from homeostat_agent.reload.provenance import Provenance
from homeostat_agent.reload.routes import Routes
from homeostat_agent.reload.succession import in_succession
from homeostat_agent.reload.work import Target, Work

MAX_ROUNDS = 4
"""How often the process is looked through for functions made while the others were exchanged."""

Targets = dict[tuple[str, str], Union[Target, ModulePlan]]
"""Plans by path and file name; what cannot be carried out has no more than the plan."""


@dataclass(frozen=True)
class Surroundings:
    """What all steps of one reloader share."""

    repository: str
    patience_s: float
    haste: Haste
    real_paths: dict[str, str] = field(default_factory=dict)
    routes: Routes = field(default_factory=Routes)
    provenance: Provenance = field(default_factory=Provenance)
    neighbours: Neighbours = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "neighbours", Neighbours(self.repository))

    def files(self, paths: tuple[str, ...]) -> Files:
        return Files(self.repository, paths, self.real_paths)


class Step:
    """What a swap and a rollback have in common."""

    def __init__(
        self, change: Change, surroundings: Surroundings, files: Files, targets: Targets, anchors: tuple[Any, ...]
    ) -> None:
        self.change = change
        self.files = files
        self.targets = targets
        self.anchors = anchors
        """From an earlier census of the same files: what leads to every function (see `take_census`)."""

        self._surroundings = surroundings
        self._modules = {module.path: module for module in change.modules}
        self._patience = Patience(surroundings.patience_s, surroundings.haste)

    def _look(
        self,
        plan: Callable[[Load, Target, Census, Work], None],
        *,
        since: Census | None = None,
        codes: Sequence[CodeType] = (),
        memory: Memory | None = None,
    ) -> tuple[Work, Census]:
        """Look through the process, or what is new in it since, and work out what is to be done."""
        if since is None and (self.anchors or memory is not None):
            self._surroundings.haste.hold()
        elif since is None:
            self._surroundings.haste.hurry()  # a complete look takes long, and lets other threads in
        remembered = memory.look(self.files, codes) if memory is not None else None
        census = remembered or take_census(self.files, since=since, anchors=self.anchors, codes=codes)
        self.anchors = census.anchors
        work = Work(bound=self._own())
        for load in census.loads:
            target = self._target(load.path, load.filename)
            if isinstance(target, Target):
                plan(load, target, census, work)
            else:
                work.restart.extend(target.restart_reasons)
        work.exchange.runs, reason = in_succession(work.exchange.runs, self._surroundings.neighbours)
        work.restart.extend([reason] if reason else [])
        bind_names(work.naming, work)
        work.naming.clear()
        for load, target, routed in work.describing:
            describe(load, target, census, work, routed=routed)
        work.describing.clear()
        work.added.clear()
        return work, census

    def _target(self, path: str, filename: str) -> Target | ModulePlan:
        """Plan and compile a module as the file name says under which it was (or would be) loaded."""
        found = self.targets.get((path, filename))
        if found is None:
            module = self._modules[path]
            planned = compile_plan(path, module.old_source, module.new_source, filename=filename, mode=self.change.mode)
            if isinstance(planned, ModulePlan):
                found = planned
            else:
                around, sources = self._surroundings, (module.old_source, module.new_source)
                texts = old_texts(self.change, around.repository)
                known = around.routes, around.neighbours, around.provenance
                found = Target(planned, *known, sources=sources, texts=texts)
            self.targets[(path, filename)] = found
        return found

    def _own(self) -> list[Binding]:
        """Return what the change bound so far."""
        raise NotImplementedError

    def _clear_caches(self, work: Work) -> list[str]:
        """Empty the caches; again when calls that were in flight, and may fill them, have ended."""
        if not work.caches:
            return []
        codes = set(map(id, work.left_codes))
        for cache in work.caches:
            cache.cache_clear()
        ended = self._patience.wait_until(lambda: running(codes) == 0)
        for cache in work.caches:
            cache.cache_clear()
        return [] if ended else ["a call in flight may still put an old result into a cache"]
