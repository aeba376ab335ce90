"""A child process begins anew; what the parent counted is the parent's to send."""

import logging
import os
import threading

from homeostat_agent.capture.routes import wsgi_route


def request(captured, route="/x"):
    traffic = captured.capture._traffic
    traffic.finish(traffic.begin({"PATH_INFO": route}, wsgi_route), None, where="wsgi")


def in_child(check) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if check() else 1)
        except BaseException:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_sends_nothing_of_its_parents(captured):
    log = logging.Logger("x")
    log.addHandler(logging.NullHandler())
    log.error("parent")
    request(captured)
    captured.capture.failures.note("x")

    def check() -> bool:
        vitals = captured.capture.vitals()
        empty = (vitals["requests"], vitals["errors_logged"], vitals["dropped"], len(captured.ring)) == ({}, 0, 0, 0)
        empty = empty and vitals["serves"] == 0  # a child of a service may be a worker
        log.error("child")
        request(captured)
        after = captured.capture.vitals()
        counted = (len(captured.ring), after["errors_logged"], len(after["requests"]), after["serves"])
        return empty and counted == (1, 1, 1, 1)

    assert in_child(check) == 0
    vitals = captured.capture.vitals()
    assert (len(captured.ring), vitals["errors_logged"], len(vitals["requests"]), vitals["dropped"]) == (1, 1, 1, 1)


def test_a_child_made_while_another_thread_held_the_lock_is_not_stuck(captured):
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with captured.capture._traffic._lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    try:

        def check() -> bool:
            for _ in range(600):
                request(captured)
            return sum(series.requests for series in captured.capture.vitals()["requests"].values()) == 600

        assert in_child(check) == 0
    finally:
        done.set()
        thread.join()


def test_a_request_never_waits_for_the_lock(captured):
    with captured.capture._traffic._lock:
        for _ in range(2_000):
            request(captured)
    assert sum(series.requests for series in captured.capture.vitals()["requests"].values()) == 2_000


def test_a_program_that_forks_is_counted_in_each_process(host):
    host.write(
        "program.py",
        "import logging, os, sys\n"
        "logging.error('before')\n"
        "sys.capture_teller.tell()\n"
        "pid = os.fork()\n"
        "logging.error('child' if pid == 0 else 'parent')\n"
        "if pid == 0:\n    sys.capture_teller.tell()\n    os._exit(0)\n"
        "os.waitpid(pid, 0)\n",
    )
    run = host.run("-W", "ignore", "program.py")
    assert run.returncode == 0, run.stderr
    seen = sorted([item["message"] for item in report["occurrences"]] for report in run.reports)
    assert seen == [["before", "parent"], ["child"]]
