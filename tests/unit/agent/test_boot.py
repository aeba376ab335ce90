"""The agent in real programs: how it gets in, what it leaves alone, and what happens at fork, exec and exit."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest
from agents_harness import clean_environment, connected, host, records, wait_for

PYTHON = sys.executable


# Who attaches


def test_a_launched_program_attaches_and_says_who_it_is(place):
    place.write("app.py", "import sys; sys.stdin.read()")
    before_s = time.time()
    with (
        place.hub() as hub,
        host(
            PYTHON,
            "app.py",
            "--token=secret",
            env=place.launch().environment(clean_environment()),
            cwd=place.repository,
        ) as program,
    ):
        (process,) = connected(hub)
        assert process.pid == program.pid
        assert process.command == "app.py"
        assert process.hmr_enabled
        assert process.generation == 0
        assert process.changes == ()
        assert process.python == ".".join(map(str, sys.version_info[:3]))
        assert before_s - 2 < process.started_at.timestamp() < time.time() + 2  # the system counts from its own start
        assert "secret" not in repr(process)


@pytest.mark.parametrize("how", ["", ", preexec_fn=os.getpid", ", start_new_session=True"])
def test_a_tool_that_the_program_runs_leaves_no_trace_with_the_hub(place, how):
    place.write("tool.py", "import sys; print('homeostat_agent.agent' in sys.modules)")
    place.write(
        "app.py",
        f"""
        import os, subprocess, sys
        tool = subprocess.run([sys.executable, "tool.py"], capture_output=True, text=True{how})
        print(tool.stdout.strip(), flush=True)
        sys.stdin.read()
        """,
    )
    with (
        place.hub() as hub,
        host(PYTHON, "app.py", env=place.launch().environment(clean_environment()), cwd=place.repository) as program,
    ):
        assert program.stdout.readline() == "False\n"
        (process,) = connected(hub)
        assert process.pid == program.pid
        assert set(hub.stats().ended) <= {"closed"}  # a fork of us that the tool began as


def test_what_the_program_becomes_by_exec_is_attached_again(place):
    place.write("late.py", "import sys; sys.stdin.read()")
    place.write("app.py", "import os, sys; os.execv(sys.executable, [sys.executable, 'late.py'])")
    with (
        place.hub() as hub,
        host(PYTHON, "app.py", env=place.launch().environment(clean_environment()), cwd=place.repository) as program,
    ):
        wait_for(lambda: [p for p in hub.processes() if p.command == "late.py" and p.pid == program.pid])


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_workers_that_multiprocessing_starts_are_processes_of_their_own(place, method):
    place.write(
        "app.py",
        f"""
        import multiprocessing, sys, logging

        def work(stop):
            logging.warning("from the worker")
            stop.wait()

        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            stop = context.Event()
            worker = context.Process(target=work, args=(stop,))
            worker.start()
            print(worker.pid, flush=True)
            sys.stdin.read()
            stop.set()
            worker.join()
        """,
    )
    with (
        place.hub() as hub,
        host(PYTHON, "app.py", env=place.launch().environment(clean_environment()), cwd=place.repository) as program,
    ):
        pid = int(program.stdout.readline())
        wait_for(lambda: {pid, program.pid} <= {item.pid for item in hub.processes() if item.connected})
        assert len({item.id for item in hub.processes()}) == len(hub.processes())
        wait_for(lambda: ("from the worker", None, pid) in records(hub), what="the worker's record")


# Forks


def test_a_forked_worker_is_its_own_process_and_its_parent_stays_what_it_was(place):
    place.write(
        "app.py",
        """
        import logging, os, sys
        logging.warning("before the fork")
        pid = os.fork()
        if pid == 0:
            logging.warning("in the child")
            os.read(0, 1)
            sys.exit(0)
        logging.warning("in the parent")
        print(pid, flush=True)
        os.waitpid(pid, 0)
        sys.stdin.read()
        """,
    )
    with (
        place.hub() as hub,
        host(PYTHON, "app.py", env=place.launch().environment(clean_environment()), cwd=place.repository) as program,
    ):
        child = int(program.stdout.readline())
        first = {item.pid: item.id for item in connected(hub, 2)}
        assert set(first) == {program.pid, child}
        assert first[child] != first[program.pid]
        wait_for(lambda: len(records(hub)) >= 3, what="three records")
        assert sorted(records(hub)) == [
            ("before the fork", None, program.pid),
            ("in the child", None, child),
            ("in the parent", None, program.pid),
        ]
        program.stdin.write("x")
        program.stdin.flush()
        (left,) = connected(hub)
        assert (left.pid, left.id) == (program.pid, first[program.pid])
        assert hub.stats().ended == {"goodbye": 1}


def test_no_thread_of_ours_lives_while_the_program_forks_and_there_is_one_again_after(place):
    place.write(
        "app.py",
        """
        import os, threading
        # Hooks before a fork run in the reverse of their order, and ours came first: this one runs earlier,
        # so what it saw is asked for in the child, where only threads that lived at the fork are copied.
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                with open(f"/proc/{os.getppid()}/status") as status:
                    print([line for line in status if line.startswith("Threads")], flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
        print([thread.name for thread in threading.enumerate()])
        """,
    )
    with place.hub():
        done = place.run(PYTHON, "app.py")
    assert done.stdout.splitlines()[-1] == "['MainThread', 'homeostat-agent']", done.stderr


def test_a_program_that_makes_a_daemon_of_itself_is_still_attached(place):
    place.write(
        "app.py",
        """
        import logging, os, sys, time
        if os.fork():
            os._exit(0)
        os.setsid()
        if os.fork():
            os._exit(0)
        go = os.dup(0)
        os.dup2(go, 3)
        os.closerange(4, 4096)
        with open("pid", "w") as file:
            file.write(str(os.getpid()))
        logging.warning("from the daemon")
        os.read(3, 1)
        """,
    )
    with (
        place.hub() as hub,
        host(PYTHON, "app.py", env=place.launch().environment(clean_environment()), cwd=place.repository) as program,
    ):
        wait_for(lambda: [item for item in records(hub) if item[0] == "from the daemon"])
        (process,) = connected(hub)
        assert process.pid == int((place.repository / "pid").read_text())
        assert process.pid != program.pid
        program.stdin.write("x")
        program.stdin.flush()
        wait_for(lambda: not hub.processes() or not hub.processes()[0].connected)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_worker_that_gave_its_privileges_away_says_once_that_the_hub_is_closed_to_it(place):
    place.write(
        "app.py",
        """
        import os, sys, time
        if not os.fork():
            os.setuid(65534)
            sys.stdin.buffer.read()
            os._exit(0)
        os.wait()
        """,
    )
    environment = place.launch().environment(clean_environment())
    with place.hub() as hub, host(PYTHON, "app.py", env=environment, cwd=place.repository) as program:
        said = program.stderr.readline()
        assert said.startswith("homeostat-agent: not attached: this process runs as uid 65534")
        assert [item.pid for item in connected(hub)] == [program.pid]
        assert (program.communicate(timeout=20)[1], program.returncode) == ("", 0)


# sitecustomize


def test_the_programs_own_sitecustomize_still_runs_and_sees_nothing_of_ours(place, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sitecustomize.py").write_text(
        "import sys\nRAN = True\nprint(__name__, __file__, [p for p in sys.path if 'bootstrap' in p])\n"
    )
    (theirs / "usercustomize.py").write_text("")
    done = place.run(
        PYTHON,
        "-c",
        "import sitecustomize, sys; print(sitecustomize.RAN, 'homeostat_agent' in sys.modules)",
        env={"PYTHONPATH": str(theirs)},
    )
    assert done.stderr == ""
    assert done.stdout == f"sitecustomize {theirs}/sitecustomize.py []\nTrue True\n"


def test_a_sitecustomize_that_raises_is_reported_as_without_us(place, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sitecustomize.py").write_text("import not_there_at_all\n")
    plain = subprocess.run(
        [PYTHON, "-c", "print('ran')"],
        env=clean_environment() | {"PYTHONPATH": str(theirs)},
        capture_output=True,
        text=True,
    )
    with_us = place.run(PYTHON, "-c", "print('ran')", env={"PYTHONPATH": str(theirs)})
    assert "not_there_at_all" in plain.stderr
    assert (with_us.stdout, with_us.stderr) == (plain.stdout, plain.stderr)


def test_the_programs_path_is_as_without_us(place):
    show = "import sys; print(sys.path)"
    plain = subprocess.run(
        [PYTHON, "-c", show], env=clean_environment(), cwd=place.repository, capture_output=True, text=True
    )
    assert place.run(PYTHON, "-c", show).stdout == plain.stdout


# Failures of ours


def _spoil(place, launch, how):
    match how:
        case "gone":
            launch.file.unlink()
        case "open to others":
            launch.file.chmod(0o644)
        case "no json":
            launch.file.write_text("{")
        case "no key":
            launch.file.write_text(json.dumps(json.loads(launch.file.read_text()) | {"key": "00"}))
        case "a link":
            launch.file.rename(launch.file.with_suffix(".real"))
            launch.file.symlink_to(launch.file.with_suffix(".real"))
        case "agent broken":
            (launch.bootstrap / "homeostat_agent" / "agent.py").write_text("raise ValueError('two\\nlines')\n")


@pytest.mark.parametrize("how", ["gone", "open to others", "no json", "no key", "a link", "agent broken"])
def test_a_failure_of_ours_is_one_line_on_stderr_and_the_program_runs(place, how):
    launch = place.launch()
    _spoil(place, launch, how)
    done = place.run(PYTHON, "-c", "print('ran')", launch=launch)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert done.stderr.startswith("homeostat-agent: not attached: ")
    assert done.stderr.count("\n") == 1
    assert launch.id not in done.stdout


def test_without_a_hub_the_program_runs_as_without_us(place):
    started_s = time.monotonic()
    done = place.run(PYTHON, "-c", "import logging; logging.getLogger('x').error('y'); print('ran')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "y\n")
    # A few tenths of a second at most times; more than 5 s when it waits for a whole handshake.
    assert time.monotonic() - started_s < 5


# The end of a program


def test_the_exception_that_ends_the_program_arrives(place):
    place.write("app.py", "raise LookupError('the last words')")
    with place.hub() as hub:
        for count in (1, 2, 3):  # the program ends while the agent is still starting, at another point each time
            done = place.run(PYTHON, "app.py")
            assert done.returncode == 1
            wait_for(lambda: [r[:2] for r in records(hub)] == [("the last words", "LookupError")] * count)  # noqa: B023
        wait_for(lambda: not hub.processes())


def test_a_hub_that_accepts_and_never_reads_delays_the_end_by_no_whole_handshake(place):
    place.write("app.py", "import time; time.sleep(0.3); raise SystemExit(3)")
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(place.socket))
        listener.listen(8)
        # Half a second; one that waits for the handshake takes 5 s, and each time. A busy machine may delay one run
        # or another.
        assert any(_delay_s(place) < 4 for _ in range(5))


def _delay_s(place):
    plain_s = _duration(lambda: subprocess.run([PYTHON, "app.py"], env=clean_environment(), cwd=place.repository))
    return _duration(lambda: place.run(PYTHON, "app.py")) - plain_s


def _duration(work):
    started_s = time.monotonic()
    work()
    return time.monotonic() - started_s


# From inside


def test_a_program_can_attach_from_inside_before_there_is_a_hub(place):
    place.write(
        "app.py",
        """
        import sys
        sys.path.insert(0, sys.argv[1])
        import homeostat_agent
        agent = homeostat_agent.attach()
        assert homeostat_agent.attach() is agent
        print(agent is not None, flush=True)
        sys.stdin.read()
        """,
    )
    package = place.launch().bootstrap
    (place.repository / "deep" / "er").mkdir(parents=True)
    with host(
        PYTHON, place.repository / "app.py", package, env=clean_environment(), cwd=place.repository / "deep" / "er"
    ) as program:
        assert program.stdout.readline() == "True\n"
        with place.hub() as hub:
            (process,) = connected(hub)
            assert (process.pid, process.hmr_enabled) == (program.pid, False)


def test_attaching_from_inside_follows_the_hub_to_another_door(place, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (place.state / "run" / "hub.json").write_text(
        json.dumps({"agent_socket": str(elsewhere / "a.sock"), "hmr_enabled": True})
    )
    place.write("app.py", "import sys; import homeostat_agent; homeostat_agent.attach(); sys.stdin.read()")
    environment = clean_environment() | {"PYTHONPATH": str(place.launch().bootstrap)}
    with (
        place.hub(socket_path=elsewhere / "a.sock") as hub,
        host(PYTHON, "app.py", env=environment, cwd=place.repository),
    ):
        (process,) = connected(hub)
        assert process.hmr_enabled


def test_attaching_where_there_is_no_state_directory_says_so_and_returns_none(place, tmp_path):
    done = subprocess.run(
        [PYTHON, "-c", "import homeostat_agent; print(homeostat_agent.attach())"],
        env=clean_environment() | {"PYTHONPATH": str(place.launch().bootstrap)},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.stdout == "None\n"
    assert done.stderr.startswith("homeostat-agent: not attached: there is no .homeostat/")
