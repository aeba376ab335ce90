"""A hub in memory whose program's files a person edits."""

from dataclasses import replace
from datetime import timedelta

from homeostat.flows.reloading import Reloading
from homeostat.testing.memory_files import MemoryEditedFiles
from homeostat.testing.world import PROCESS, SOURCE, WORLD_SETTINGS, World


class Edited:
    """A world whose files a person edits, and the hub's follower of them."""

    def __init__(self, *, settings=WORLD_SETTINGS, more=None):
        self.world = World(settings=settings)
        self.files = MemoryEditedFiles(self.world.clock.now)
        self.files.write("shop.py", SOURCE)
        for path, text in (more or {}).items():
            self.files.write(path, text)
        self.world.clock.move(timedelta(seconds=1))
        self.attach(PROCESS, {"shop.py": SOURCE, **(more or {})})
        self.told = []
        self.begin()
        self.pass_time(1.0)

    @property
    def live(self):
        return self.world.live

    def attach(self, identity, loaded, parent=None):
        self.world.clock.move(timedelta(seconds=1))
        shown = replace(self.world.process(identity=identity), pid=int(identity[-4:]))
        self.live.attach(shown, loaded=loaded, parent=parent)

    def begin(self):
        """Be a hub that has just started."""
        self.reloading = Reloading(self.world.deps, self.live, self.files, tell=self.told.append)

    def pass_time(self, seconds):
        """Let the follower look as often as it does, for so long."""
        left = round(seconds / 0.01)
        for _ in range(left):
            self.world.clock.move(timedelta(seconds=0.01))
            self.reloading.look()

    def save(self, path, text, *, seconds=0.3):
        self.files.write(path, text)
        self.pass_time(seconds)

    def source(self, identity=PROCESS, path="shop.py"):
        return self.live.source(identity, path)

    @property
    def outcomes(self):
        return [report.outcome for report in self.told]

    def entries(self):
        return [entry for entry in self.world.store.ledger.entries() if entry.kind.startswith("reload.")]

    def swaps(self):
        return [call for call in self.live.calls if call[0] == "swap"]
