"""What is the program goes on with the agent; what is only a tool of it sees no trace of us."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from agents_harness import clean_environment, connected, host, records, wait_for
from homeostat_agent.capture.failures import Failures
from homeostat_agent.inherit import Inheritance

PYTHON = sys.executable


def started(place, *command, env=None, launch=None):
    environment = (launch or place.launch()).environment(clean_environment() | (env or {}))
    return host(*command, env=environment, cwd=place.repository)


# Tools

SHOW = """
import json, os, sys
links = {}
for number in os.listdir("/proc/self/fd"):
    try:
        links[number] = os.readlink("/proc/self/fd/" + number).split(":")[0]
    except OSError:
        pass
print(json.dumps([dict(os.environ), sys.path[1:], sorted(sys.modules), sys.orig_argv[1:], links]))
"""

RUNS = {
    "subprocess": "subprocess.run([sys.executable, 'show.py'])",
    "with all descriptors": "subprocess.run([sys.executable, 'show.py'], close_fds=False)",
    "a shell": "subprocess.run(sys.executable + ' show.py', shell=True)",
    "system": "os.system(sys.executable + ' show.py')",
    "an environment made of ours": "subprocess.run([sys.executable, 'show.py'], env={**os.environ})",
    "its own environment": "subprocess.run([sys.executable, 'show.py'], env={'PATH': os.environ['PATH']})",
    "posix_spawn": "os.waitpid(os.posix_spawn(sys.executable, [sys.executable, 'show.py'], os.environ), 0)",
    "spawnv": "os.spawnv(os.P_WAIT, sys.executable, [sys.executable, 'show.py'])",
    "fork and exec": """
pid = os.fork()
if not pid:
    os.execv(sys.executable, [sys.executable, 'show.py'])
os.waitpid(pid, 0)
""",
    "a tool of a worker": """
import multiprocessing
multiprocessing.get_context('fork').Pool(1).apply(os.system, [sys.executable + ' show.py'])
""",
    "after a spawned worker": """
import multiprocessing
if __name__ == '__main__':
    worker = multiprocessing.get_context('spawn').Process(target=os.system, args=[sys.executable + ' show.py'])
    worker.start()
    worker.join()
""",
}


def shown(place, environment):
    done = subprocess.run(
        [PYTHON, "app.py"], env=environment, cwd=place.repository, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    env, path, modules, arguments, links = json.loads(done.stdout.splitlines()[-1])
    # Pipes and sockets: by count, since a spawned worker has some of its own. The rest is the tool's own reading.
    return env, path, modules, arguments, sorted(links.values())


@pytest.mark.parametrize(
    ("how", "theirs"),
    [*((how, {}) for how in RUNS), ("subprocess", {"PYTHONPATH": "/nowhere/a:/nowhere/b"})],
)
def test_a_tool_sees_exactly_what_it_would_see_without_us(place, how, theirs):
    place.write("show.py", SHOW)
    place.write("app.py", "import os, subprocess, sys\n" + RUNS[how])
    plain = shown(place, clean_environment() | theirs)
    with place.hub():
        assert shown(place, place.launch().environment(clean_environment() | theirs)) == plain


def test_the_program_itself_finds_its_environment_as_without_us(place):
    place.write("app.py", "import json, os; print(json.dumps(dict(os.environ)))")
    environment = clean_environment() | {"PYTHONPATH": "/nowhere"}
    for env in (environment, place.launch().environment(environment)):
        done = subprocess.run([PYTHON, "app.py"], env=env, cwd=place.repository, capture_output=True, text=True)
        assert json.loads(done.stdout) == environment | {
            key: value for key, value in json.loads(done.stdout).items() if key == "LC_CTYPE"
        }


def test_a_shell_that_puts_a_folder_before_ours_leaves_the_agent_in(place):
    place.write("start.sh", f'PYTHONPATH=/nowhere:$PYTHONPATH exec "{PYTHON}" app.py')
    place.write("app.py", "import os, sys; print(os.environ['PYTHONPATH'], flush=True); sys.stdin.read()")
    with place.hub() as hub, started(place, "sh", "start.sh") as program:
        assert program.stdout.readline() == "/nowhere\n"
        assert [item.pid for item in connected(hub)] == [program.pid]


# Workers, of workers too

POOLS = """
import concurrent.futures, logging, multiprocessing, os, sys

def work(number):
    logging.warning("job %s in %d", number, os.getpid())
    return os.getpid()

def nest(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        print(pool.apply(work, [2]), flush=True)
        pool.apply(wait)

def wait():
    import time
    while not os.path.exists("stop"):
        time.sleep(0.02)

if __name__ == "__main__":
    method = sys.argv[1]
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        print(pool.submit(work, 1).result(), flush=True)
    outer = context.Process(target=nest, args=[method])
    outer.start()
    print(outer.pid, flush=True)
    outer.join()
"""


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_workers_of_pools_and_workers_of_workers_attach(place, method):
    place.write("app.py", POOLS)
    with place.hub() as hub, started(place, PYTHON, "app.py", method) as program:
        first, *others = (int(program.stdout.readline()) for _ in range(3))
        wait_for(lambda: any(pid == first for *_, pid in records(hub)), what="the pool's record")
        wanted = {program.pid, *others}
        wait_for(lambda: wanted <= {item.pid for item in hub.processes() if item.connected}, what=f"{wanted}")
        place.write("stop", "")
        assert program.wait(20) == 0, program.stderr.read()
        wait_for(lambda: not [item for item in hub.processes() if item.connected])


def test_workers_that_a_program_spawns_after_it_attached_from_inside_attach_too(place):
    place.write(
        "app.py",
        """
        import multiprocessing, sys
        def work():
            import time
            time.sleep(60)
        if __name__ == "__main__":
            sys.path.insert(0, sys.argv[1])
            import homeostat_agent
            homeostat_agent.attach()
            worker = multiprocessing.get_context("spawn").Process(target=work, daemon=True)
            worker.start()
            print(worker.pid, flush=True)
            sys.stdin.read()
        """,
    )
    package = place.launch().bootstrap
    with place.hub() as hub, host(PYTHON, "app.py", package, env=clean_environment(), cwd=place.repository) as program:
        worker = int(program.stdout.readline())
        assert {item.pid for item in connected(hub, 2)} == {program.pid, worker}


def test_only_workers_and_fork_servers_are_given_the_agent():
    known = Inheritance(place="/agent", source="/launch", environment={}, failures=Failures())
    spawn = ["py", "-B", "-c", "from multiprocessing.spawn import spawn_main; spawn_main()", "--multiprocessing-fork"]
    server = ["py", "-c", "from multiprocessing.forkserver import main; main(3)"]
    for line in (spawn, server):
        given = known.with_agent(line)
        at = line.index("-c") + 1
        assert given[at].endswith("\n" + line[at]) and "/launch" in given[at]
        assert [*given[:at], *given[at + 1 :]] == [*line[:at], *line[at + 1 :]]
    tracker = ["py", "-c", "from multiprocessing.resource_tracker import main;main(4)"]
    for line in (tracker, ["frozen", "--multiprocessing-fork"], ["py", "-c"], [b"py", b"-c", b"x"], []):
        assert known.with_agent(line) == line


def test_a_worker_whose_agent_is_gone_works_without_it(place):
    place.write(
        "app.py",
        """
        import multiprocessing, shutil, sys
        if __name__ == "__main__":
            shutil.rmtree(sys.argv[1])
            worker = multiprocessing.get_context("spawn").Process(target=print, args=["worked"])
            worker.start()
            worker.join()
            print(worker.exitcode)
        """,
    )
    launch = place.launch()
    bare = Path(sys.base_prefix) / "bin" / "python3"  # ours has the agent installed
    with place.hub(), started(place, bare, "app.py", launch.bootstrap, launch=launch) as program:
        out, err = program.communicate(timeout=30)
    assert out == "worked\n0\n"
    assert err.startswith("homeostat-agent: not attached: ") and err.count("\n") == 1


# exec


@pytest.mark.parametrize(
    "call",
    [
        "os.execv(sys.executable, [sys.executable, 'late.py'])",
        "os.execl(sys.executable, sys.executable, 'late.py')",
        "os.execvp(sys.executable, [sys.executable, 'late.py'])",
        "os.execve(sys.executable, [sys.executable, 'late.py'], {'MINE': '1'})",
        "os.execle(sys.executable, sys.executable, 'late.py', {'MINE': '1'})",
        "os.execvpe(sys.executable, [sys.executable, 'late.py'], os.environ)",
        "os.execvp('sh', ['sh', '-c', 'exec \"$0\" late.py', sys.executable])",
        "os.execve(os.open(sys.executable, os.O_RDONLY), [sys.executable, 'late.py'], {'MINE': '1'})",
    ],
)
def test_whatever_the_program_becomes_by_exec_has_the_agent_and_a_clean_environment(place, call):
    place.write("late.py", "import json, os, sys; print(json.dumps(dict(os.environ)), flush=True); sys.stdin.read()")
    place.write("app.py", f"import os, sys; assert os.execve in os.supports_fd; {call}")
    with place.hub() as hub, started(place, PYTHON, "app.py") as program:
        env = json.loads(program.stdout.readline())
        assert not [name for name in env if "HOMEOSTAT" in name or name == "PYTHONPATH"]
        assert ("MINE" in env) == ("MINE" in call)
        wait_for(lambda: [p for p in hub.processes() if p.command == "late.py" and p.pid == program.pid])


def test_a_fork_that_executes_the_programs_own_command_line_is_the_program_again(place):
    place.write(
        "app.py",
        """
        import os, sys
        if "AGAIN" not in os.environ:
            if not os.fork():
                os.execvpe(sys.executable, [sys.executable, *sys.argv], {**os.environ, "AGAIN": "1"})
        print(os.getpid(), flush=True)
        sys.stdin.read()
        """,
    )
    with place.hub() as hub, started(place, PYTHON, "app.py", "--port=1") as program:
        pids = {int(program.stdout.readline()) for _ in range(2)}
        assert program.pid in pids
        wait_for(lambda: {item.pid for item in hub.processes() if item.connected} == pids)


def test_an_exec_that_fails_is_as_without_us(place):
    place.write(
        "app.py",
        """
        import os
        for call, arguments in (
            (os.execv, ("/nowhere", ["x"])), (os.execve, ("/nowhere", ["x"], {})), (os.execv, ("/bin/true", [])),
            (os.execve, ("/bin/true", ["x"], 5)), (os.execv, ("/bin/true", None)), (os.execvp, ("nowhere", ["x"])),
        ):
            try:
                call(*arguments)
            except Exception as error:
                print(type(error).__name__, error)
        """,
    )
    plain = subprocess.run([PYTHON, "app.py"], env=clean_environment(), cwd=place.repository, capture_output=True)
    env = place.launch().environment(clean_environment())
    with_us = subprocess.run([PYTHON, "app.py"], env=env, cwd=place.repository, capture_output=True)
    assert (with_us.stdout, with_us.stderr) == (plain.stdout, plain.stderr)
    assert plain.stdout.count(b"\n") == 6


# Reloaders

FLASK = "from flask import Flask; app = Flask(__name__)\n"
DJANGO = """
import os, sys
from django.conf import settings
settings.configure(DEBUG=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x" * 50)
urlpatterns = []
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


@pytest.mark.parametrize(
    ("source", "command"),
    [
        (FLASK, ("-m", "flask", "--app", "app", "run", "--debug", "--port", "0")),
        (DJANGO, ("app.py", "runserver", "--skip-checks", "127.0.0.1:0")),
    ],
    ids=["flask", "django"],
)
def test_the_serving_child_of_a_reloader_attaches(place, source, command):
    place.write("app.py", source)
    with place.hub() as hub, started(place, PYTHON, *command) as program:
        first, child = sorted(connected(hub, 2), key=lambda item: item.started_at)
        assert first.pid == program.pid
        status = Path(f"/proc/{child.pid}/stat").read_text()
        assert int(status.rpartition(")")[2].split()[1]) == program.pid
