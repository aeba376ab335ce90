"""What goes wrong, at random moments from a seed: processes are killed, the disk is full, and all of it comes back."""

import contextlib
import os
import random
import signal
import threading
import time

from e2e.support.processes import descendants

from soak.stage import STATE_MB, Stage, now, sandboxed


class Mayhem:
    """One thread. `quiet_hub` spares the hub, so that its growth can be seen; `close` ends it."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.quiet_hub = threading.Event()
        self._stage = stage
        self._rng = rng
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failure = ""

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(180)

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._rng.uniform(8, 30)):
                acts = [self._kill_worker, self._kill_sandboxed, *[self._kill_service_worker] * 2, self._kill_service]
                acts.append(self._hang_service_worker)
                if not self.quiet_hub.is_set():
                    acts += [*[self._kill_hub] * 3, self._stop_hub, *[self._fill_disk] * self._stage.has_own_disk]
                self._rng.choice(acts)()
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"

    def _kill_hub(self) -> None:
        hub = self._stage.hub
        assert hub is not None
        self._stage.note("hub killed", at=now())
        if self._rng.random() < 0.5:
            hub.kill()
            hub.wait(20)
        else:
            self._stage.kill_tree(hub)
        self._back_again()

    def _stop_hub(self) -> None:
        assert self._stage.hub is not None
        self._stage.note("hub stopped", at=now())
        self._stage.stop(self._stage.hub)
        self._back_again()

    def _back_again(self) -> None:
        time.sleep(self._rng.uniform(0, 3))
        self._stage.start_hub()
        self._stage.wait_for_hub()

    def _kill_worker(self) -> None:
        assert self._stage.hub is not None
        self._kill_one("worker killed", sandboxed(self._stage.hub.pid)[0])

    def _kill_sandboxed(self) -> None:
        """Wait a moment for something that runs in a sandbox, and kill it."""
        assert self._stage.hub is not None
        end_s = time.monotonic() + 5
        while time.monotonic() < end_s:
            below = sandboxed(self._stage.hub.pid)[1]
            if below:
                self._kill_one("sandboxed process killed", below)
                return
            time.sleep(0.05)

    def _kill_one(self, what: str, pids: list[int]) -> None:
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._rng.choice(pids), signal.SIGKILL)
                self._stage.note(what, at=now())

    def _kill_service_worker(self) -> None:
        workers = self._stage.service_workers()
        if not workers:
            return
        at = now()
        victim = self._rng.choice(workers)
        for pid in (victim, *descendants(victim)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)
        self._stage.wait_for_service()
        self._stage.note("service worker killed", at=at, until=now())

    def _hang_service_worker(self) -> None:
        """Stop a worker for a while, perhaps for longer than a canary's lease; its supervisor may end it for that."""
        workers = self._stage.service_workers()
        if not workers:
            return
        at, victim = now(), self._rng.choice(workers)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGSTOP)
        self._stop.wait(self._rng.uniform(2, 14))
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGCONT)
        self._stage.wait_for_service()
        self._stage.note("service worker hung", at=at, until=now())

    def _kill_service(self) -> None:
        service = self._stage.service
        assert service is not None
        at = now()
        self._stage.kill_tree(service)
        self._stage.start_service()
        self._stage.wait_for_service()
        self._stage.note("service killed", at=at, until=now())

    def _fill_disk(self) -> None:
        """Leave no byte free where the hub keeps its state, for some seconds."""
        filler = self._stage.shop.state_dir / "filler"
        self._stage.note("disk full", at=now())
        try:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                for _ in range(STATE_MB * 16):
                    file.write(bytes(64 << 10))
            self._stop.wait(self._rng.uniform(2, 6))
        finally:
            filler.unlink(missing_ok=True)
