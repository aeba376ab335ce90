"""What runs too long is ended, but not while it may hold a lock that the whole program needs."""

import io
import logging
import threading

from agents_harness import wait_for
from homeostat_agent.canary.interrupting import Interrupted, interrupt


class Loop:
    """A thread that runs some code over and over, in a module of this name, until it is interrupted."""

    def __init__(self, module, code="pass"):
        self.ended = threading.Event()
        self.names = {"__name__": module, "running": threading.Event(), "go_on": True, "log": None}
        exec(f"def run():\n while go_on:\n  running.set()\n  {code}\n", self.names)
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            self.names["run"]()
        except Interrupted:
            self.ended.set()

    def __enter__(self):
        self.thread.start()
        assert self.names["running"].wait(20)
        return self

    def __exit__(self, *_):
        self.names["go_on"] = False
        self.thread.join(20)
        assert not self.thread.is_alive()


def test_code_of_the_host_is_ended():
    with Loop("shop.cart", "running.is_set") as loop:
        wait_for(lambda: interrupt(loop.thread))
        assert loop.ended.wait(20)


def test_code_that_takes_locks_of_the_whole_program_is_left_until_it_is_out_of_it():
    for module in ("logging", "logging.handlers", "threading", "importlib._bootstrap"):
        with Loop(module, "running.is_set") as loop:
            assert interrupt(loop.thread) is False
            assert not loop.ended.is_set()


def test_whoever_logs_without_end_leaves_the_lock_of_the_log_behind():
    log, handler = logging.Logger("endless"), logging.StreamHandler(io.StringIO())
    log.addHandler(handler)
    for _ in range(20):
        loop = Loop("shop.cart", "log.warning('x')")
        loop.names["log"] = log
        with loop:
            wait_for(lambda loop=loop: interrupt(loop.thread))
            assert loop.ended.wait(20)
        assert handler.lock.acquire(timeout=20)
        handler.lock.release()


def test_what_is_over_needs_no_end():
    thread = threading.Thread(target=int)
    thread.start()
    thread.join(20)
    assert interrupt(thread) is True
