"""Exceptions that nobody caught, in programs of their own; the hooks that were there before still run."""

import sys
import threading

import pytest

PROGRAM = """
import sys, threading, asyncio, gc

def fail(what):
    raise LookupError(what)

class Careless:
    def __del__(self):
        fail("in a finalizer")

async def forgotten():
    fail("in a task")

async def main():
    task = asyncio.ensure_future(forgotten())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()
    asyncio.get_running_loop().call_soon(fail, "in a callback")
    await asyncio.sleep(0)
    await asyncio.sleep(0)

def leave():
    sys.exit(3)

thread = threading.Thread(target=fail, args=("in a thread",))
thread.start()
thread.join()
leaving = threading.Thread(target=leave)
leaving.start()
leaving.join()
asyncio.run(main())
Careless()
gc.collect()
fail("in the main thread")
"""


def test_every_uncaught_exception_is_recorded_once_with_its_place(host):
    host.write("program.py", PROGRAM)
    run = host.run("program.py")
    assert run.returncode == 1
    seen = {item["exception_message"]: item for item in run.occurrences()}
    assert {message: (item["logger"], item["severity_text"]) for message, item in seen.items()} == {
        "in a thread": ("threading.excepthook", "ERROR"),
        "in a task": ("asyncio", "ERROR"),
        "in a callback": ("asyncio", "ERROR"),
        "in a finalizer": ("sys.unraisablehook", "ERROR"),
        "in the main thread": ("sys.excepthook", "CRITICAL"),
    }
    assert len(run.occurrences()) == 5, "an exit of a thread is no error"
    assert {item["exception_type"] for item in seen.values()} == {"LookupError"}
    assert {tuple(item["location"]) for item in seen.values()} == {("program.py", 5, "fail")}
    assert run.report["errors_logged"] == 5
    assert run.report["failures"] == {}
    for what in ("in a thread", "in a finalizer", "in the main thread"):
        assert what in run.stderr, "Python's own report is still there"


def test_a_logged_and_raised_exception_that_ends_the_program_is_one_error(host):
    host.write(
        "program.py",
        "import logging\ntry:\n    raise ValueError('x')\nexcept ValueError:\n    logging.exception('it')\n    raise\n",
    )
    run = host.run("program.py")
    assert run.returncode == 1
    assert [item["message"] for item in run.occurrences()] == ["it"]


@pytest.mark.parametrize("ending", ["raise KeyboardInterrupt", "raise SystemExit(4)"])
def test_an_interrupt_or_exit_is_no_error(host, ending):
    host.write("program.py", ending + "\n")
    run = host.run("program.py")
    assert run.returncode != 0
    assert run.occurrences() == []
    assert run.report["errors_logged"] == 0


def test_a_hook_of_the_hosts_own_is_called_with_what_it_was_called_before(host):
    host.begin_inside = True
    host.write(
        "program.py",
        "import sys, threading, sitecustomize\n"
        "sys.excepthook = lambda *a: print('mine', a[0].__name__, a[1], a[2] is not None)\n"
        "threading.excepthook = lambda a: print('thread', a.exc_type.__name__, a.thread.name)\n"
        "sitecustomize.begin()\n"
        "def fail(): raise KeyError('t')\n"
        "t = threading.Thread(target=fail, name='worker'); t.start(); t.join()\n"
        "raise ValueError('m')\n",
    )
    run = host.run("program.py")
    assert run.stdout.splitlines() == ["thread KeyError worker", "mine ValueError m True"]
    assert [item["exception_type"] for item in run.occurrences()] == ["KeyError", "ValueError"]


def test_a_hook_that_the_host_sets_later_and_that_calls_the_one_before_still_records(host):
    host.write(
        "program.py",
        "import sys\n"
        "before = sys.excepthook\n"
        "def hook(*a):\n    print('mine')\n    before(*a)\n"
        "sys.excepthook = hook\n"
        "raise ValueError('m')\n",
    )
    run = host.run("program.py")
    assert run.stdout == "mine\n"
    assert [item["exception_type"] for item in run.occurrences()] == ["ValueError"]


def test_a_task_of_a_loop_with_its_own_handler_is_the_hosts_affair(host):
    host.write(
        "program.py",
        "import asyncio\n"
        "async def main():\n"
        "    loop = asyncio.get_running_loop()\n"
        "    loop.set_exception_handler(lambda loop, context: print('dealt with'))\n"
        "    loop.call_soon(lambda: 1 / 0)\n"
        "    await asyncio.sleep(0)\n"
        "    await asyncio.sleep(0)\n"
        "asyncio.run(main())\n",
    )
    run = host.run("program.py")
    assert run.stdout == "dealt with\n"
    assert run.occurrences() == []


def test_uninstall_puts_the_hooks_back(tmp_path):
    import logging

    from homeostat_agent.capture import install
    from homeostat_agent.context import HostContext
    from homeostat_agent.ring import Ring

    def state() -> tuple[object, ...]:
        return (
            sys.excepthook,
            sys.unraisablehook,
            threading.excepthook,
            logging.Logger.callHandlers,
            list(sys.meta_path),
        )

    before = state()
    capture = install(Ring(), HostContext(str(tmp_path), None, "s", "p"))
    assert all(one != other for one, other in zip(before, state(), strict=True))
    capture.uninstall()
    assert state() == before
    capture.uninstall()
    assert state() == before, "a second time does nothing"
