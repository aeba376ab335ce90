"""Runs in every kind of sandbox: how they end, what they print, and what is left of them."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sandbox_runs import LIMITS, place, require, run_code, run_spec

from homeostat.adapters.sandbox import tree
from homeostat.adapters.sandbox.interpreter import read_interpreter
from homeostat.adapters.sandbox.layout import shown_to_all
from homeostat.adapters.sandbox.run import End, Zygote, run_in_sandbox
from homeostat.adapters.sandbox.spec import Bind, Kind, SandboxSpec, Shown
from homeostat.core.errors import Unavailable


@pytest.fixture(params=list(Kind))
def kind(request) -> Kind:
    require(request.param)
    return request.param


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(7)", 7),
        ("import os; os._exit(0)", 0),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL),
    ],
)
def test_the_exit_code_is_the_commands_own(kind, code, exit_code):
    ended = run_code(kind, code)
    assert (ended.end, ended.code) == (End.EXITED, exit_code)


def test_output_of_both_streams_is_kept_in_order(kind):
    code = "import os; os.write(1, b'one '); os.write(2, b'two '); os.write(1, b'three')"
    assert run_code(kind, code).output_tail == "one two three"


def test_a_flood_of_output_is_drained_and_only_its_end_kept(kind):
    ended = run_code(
        kind, "import os\nfor _ in range(400): os.write(1, b'x' * 65536)\nos.write(1, b'end')", output_chars=9
    )
    assert ended.output_tail == "xxxxxxend"
    assert ended.output_bytes == 400 * 65536 + 3


def test_a_command_that_does_not_exist_ends_with_127(kind):
    with place() as made:
        spec = made.spec(kind, "no-such-program")
        assert isinstance(spec, SandboxSpec)
        ended = run_spec(spec, output_chars=100)
    assert ended.code == 127
    assert "no-such-program" in ended.output_tail


def test_out_of_time_means_ended_with_all_children(kind):
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  time.sleep(600)\n os._exit(0)\n"
        "print('up', flush=True)\ntime.sleep(600)"
    )
    ended = run_code(kind, code, timeout_s=2.0)
    assert (ended.end, ended.code, ended.output_tail) == (End.TIME, None, "up\n")
    assert ended.duration_ms < 60_000  # two seconds, or ten minutes where somebody is waited for
    assert not [p for p in tree.descendants(os.getpid()) if "time.sleep(600)" in _command_line(p)]


def test_output_that_a_leftover_process_holds_open_does_not_keep_the_run_waiting(kind):
    ended = run_code(kind, "import os, time\nif os.fork() == 0:\n os.setsid()\n time.sleep(600)\n")
    assert (ended.end, ended.code) == (End.EXITED, 0)


def test_memory_of_one_process_is_bounded(kind):
    ended = run_code(kind, "x = bytearray(300 << 20)", memory_mb=128)
    assert ended.code == 1
    assert "MemoryError" in ended.output_tail


def test_memory_of_all_processes_together_is_bounded(kind):
    code = (
        "import os, time\n"
        "for _ in range(6):\n if os.fork() == 0:\n  x = bytearray(b'x') * (60 << 20); time.sleep(600)\n"
        "time.sleep(600)"
    )
    assert run_code(kind, code, tree_memory_mb=200).end is End.MEMORY


def test_shared_memory_counts_too(kind):
    code = "import mmap, time\nm = mmap.mmap(-1, 300 << 20)\nm.write(b'x' * (300 << 20))\ntime.sleep(600)"
    ended = run_code(kind, code, tree_memory_mb=200, memory_mb=1000)
    assert ended.end is End.MEMORY


def test_a_file_beyond_the_limit_is_not_written(kind):
    code = "f = open('big', 'wb')\nfor _ in range(80): f.write(b'x' * (1 << 20))"
    ended = run_code(kind, code, file_mb=16)
    assert ended.code != 0


def test_what_is_written_in_all_is_bounded(kind):
    code = (
        "import time\n"
        "for n in range(20):\n f = open(f'f{n}', 'wb'); f.write(b'x' * (10 << 20)); f.close()\n"
        "time.sleep(600)"
    )
    assert run_code(kind, code, disk_mb=64).end is End.DISK


def test_processes_and_threads_are_bounded(kind):
    code = (
        "import threading, time\nn = 0\n"
        "try:\n"
        " for n in range(500):\n  threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        "except RuntimeError: print('refused', n, flush=True)\n"
        "import os; os._exit(0)"
    )
    assert "refused" in run_code(kind, code, max_processes=24).output_tail


@pytest.mark.parametrize("module", ["subprocess", "concurrent.futures", "asyncio"])
def test_ordinary_test_programs_work(kind, module):
    programs = {
        "subprocess": "import subprocess\nprint(subprocess.check_output('echo 3', shell=True, text=True))",
        "concurrent.futures": (
            "import concurrent.futures as c\nwith c.ThreadPoolExecutor(2) as p: print(sum(p.map(int, '12')))"
        ),
        "asyncio": (
            "import asyncio\nasync def go():\n"
            " p = await asyncio.create_subprocess_exec('/bin/echo', '3', stdout=-1)\n"
            " print((await p.communicate())[0].decode().strip())\nasyncio.run(go())"
        ),
    }
    ended = run_code(kind, programs[module])
    assert (ended.code, ended.output_tail.strip()) == (0, "3")


def test_temporary_files_and_home_work_and_are_private(kind):
    code = (
        "import os, pathlib, shutil, tempfile\n"
        "pathlib.Path.home().joinpath('x').write_text('1')\n"
        "with tempfile.NamedTemporaryFile() as f: shutil.copy2(f.name, f.name + '-copy')\n"
        "print(sorted(os.listdir(tempfile.gettempdir())) != [], end='')"
    )
    ended = run_code(kind, code)
    assert (ended.code, ended.output_tail) == (0, "True"), ended.output_tail


def test_without_mounts_there_are_no_sockets_and_no_named_semaphores():
    require(Kind.LANDLOCK)
    code = (
        "import multiprocessing, socket\n"
        "for attempt in (multiprocessing.Lock, socket.socket):\n"
        " try: attempt()\n"
        " except PermissionError: print('refused', end=' ')"
    )
    assert run_code(Kind.LANDLOCK, code).output_tail == "refused refused "


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.mounts])
def test_with_mounts_loopback_servers_and_process_pools_work(kind):
    require(kind)
    code = (
        "import concurrent.futures as c, getpass, pwd, os, socket\n"
        "s = socket.create_server(('127.0.0.1', 0)); d = socket.create_connection(s.getsockname())\n"
        "assert pwd.getpwuid(os.getuid()).pw_name == getpass.getuser()\n"
        "if __name__ == '__main__':\n"
        " with c.ProcessPoolExecutor(2) as p: print(sum(p.map(int, '12')))"
    )
    ended = run_code(kind, code)
    assert (ended.code, ended.output_tail) == (0, "3\n")


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.mounts])
def test_a_sandbox_that_cannot_be_made_says_so_and_runs_nothing(kind):
    require(kind)
    with place() as made:
        spec = made.spec(kind, "/bin/echo", "ran")
        assert isinstance(spec, SandboxSpec)
        broken = dataclasses.replace(spec, binds=(*spec.binds, Bind(source="/no/such/folder", target="/x")))
        ended = run_spec(broken, output_chars=1000)
    assert ended.end is End.SETUP
    assert ended.code is None
    assert ended.message
    assert "ran" not in ended.output_tail


def test_a_launcher_that_dies_is_no_result_and_leaves_nothing(kind):
    sleeper = "import time; time.sleep(600)"
    code = (
        "import subprocess, sys, time; "
        f"subprocess.Popen([sys.executable, '-c', {sleeper!r}], start_new_session=True); time.sleep(600)"
    )
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from sandbox_runs import run_code\nfrom homeostat.adapters.sandbox.spec import Kind\n"
        "from homeostat.core.errors import Unavailable\n"
        f"try: print(run_code(Kind('{kind}'), {code!r}))\n"
        "except Unavailable as error: print(error.code)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    launchers: list[int] = []
    running: list[int] = []
    while not any(_command_line(process).rstrip("\0").endswith(sleeper) for process in running):
        assert time.monotonic() < deadline
        zygotes = [p for p in tree.descendants(process.pid) if "sandbox.zygote" in _command_line(p)][:1]
        launchers = [p for zygote in zygotes for p in _children(zygote)]
        running = [p for up in launchers for p in tree.descendants(up) if "time.sleep(600)" in _command_line(p)]
        time.sleep(0.01)
    (launcher,) = launchers
    os.kill(launcher, signal.SIGKILL)
    assert process.communicate(timeout=60)[0].strip() == "sandbox-launcher-died"
    deadline = time.monotonic() + 60
    while any("Z" not in _state(process) for process in running):
        assert time.monotonic() < deadline, "the command outlived its launcher"
        time.sleep(0.01)


def _children(process: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def test_runs_one_after_the_other_and_side_by_side_are_kept_apart(kind):
    with ThreadPoolExecutor(4) as pool:
        ended = list(
            pool.map(lambda n: run_code(kind, f"import os; os.write(1, b'{n}'); raise SystemExit({n})"), range(8))
        )
    assert [(run.code, run.output_tail) for run in ended] == [(n, str(n)) for n in range(8)]


def test_a_zygote_ends_with_whoever_started_it_and_takes_its_runs_along(kind):
    code = "import time; print('up', flush=True); time.sleep(600)"
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from sandbox_runs import run_code\nfrom homeostat.adapters.sandbox.spec import Kind\n"
        f"run_code(Kind('{kind}'), {code!r})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    below: list[int] = []
    while not any("time.sleep(600)" in _command_line(p) for p in below if p != process.pid):
        assert time.monotonic() < deadline
        below = tree.descendants(process.pid)
    process.kill()
    process.wait()
    while any("Z" not in _state(p) for p in below):
        assert time.monotonic() < deadline, "something outlived the process that had started the zygote"


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_a_zygote_that_was_closed_leaves_nothing_and_starts_nothing(kind):
    with place() as made:
        spec = made.spec(kind, "/bin/echo", "ran")
        assert isinstance(spec, SandboxSpec)
        before = set(tree.descendants(os.getpid()))
        with Zygote() as zygote:
            assert run_in_sandbox(spec, zygote=zygote, output_chars=10).output_tail == "ran\n"
        with pytest.raises(Unavailable):
            run_in_sandbox(spec, zygote=zygote, output_chars=10)
    deadline = time.monotonic() + 60
    while set(tree.descendants(os.getpid())) - before:
        assert time.monotonic() < deadline, "the zygote left something behind"


def test_a_spare_that_was_killed_is_replaced(kind):
    with place() as made, Zygote() as zygote:
        spec = made.spec(kind, "/bin/echo", "ran")
        assert isinstance(spec, SandboxSpec)
        deadline = time.monotonic() + 60
        while not (spares := _children(zygote.process_id)):
            assert time.monotonic() < deadline
        os.kill(spares[0], signal.SIGKILL)
        while _children(zygote.process_id) == spares:
            assert time.monotonic() < deadline
        assert run_in_sandbox(spec, zygote=zygote, output_chars=10).output_tail == "ran\n"


LOOK = "import os; print(sorted(os.listdir('/etc')), sorted(os.listdir('/usr')), os.statvfs('/tmp').f_blocks)"


@contextlib.contextmanager
def mounted_ahead(made, limits=LIMITS):
    root = made.folder / "root"
    root.mkdir()
    interpreter = read_interpreter(sys.executable)
    site = made.site
    shown = shown_to_all(interpreter, repository=site.repository, identity=site.identity, limits=limits, root=str(root))
    with Zygote(shown) as zygote:
        yield zygote


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.mounts], indirect=True)
def test_a_run_sees_the_same_whether_its_mounts_were_made_ahead_or_not(kind):
    seen = []
    for ahead in (True, False):
        with place() as made:
            spec = made.spec(kind, "python", "-c", LOOK)
            assert isinstance(spec, SandboxSpec)
            with mounted_ahead(made) if ahead else Zygote() as zygote:
                seen += [run_in_sandbox(spec, zygote=zygote, output_chars=60_000)]
    assert [ended.code for ended in seen] == [0, 0], seen
    assert seen[0].output_tail == seen[1].output_tail


@pytest.mark.parametrize("lacking", ["a bind", "room"])
def test_a_run_that_may_see_less_than_was_mounted_ahead_is_refused(lacking):
    require(Kind.NAMESPACES)
    with place() as made, mounted_ahead(made) as zygote:
        spec = made.spec(Kind.NAMESPACES, "/bin/echo", "ran")
        assert isinstance(spec, SandboxSpec)
        if lacking == "a bind":
            spec = dataclasses.replace(spec, binds=tuple(b for b in spec.binds if not b.target.startswith("/etc/ssl")))
        else:
            spec = dataclasses.replace(spec, limits=dataclasses.replace(LIMITS, file_mb=LIMITS.file_mb // 2))
        ended = run_in_sandbox(spec, zygote=zygote, output_chars=100)
        assert (ended.end, ended.output_tail) == (End.SETUP, "")
        assert "mounted ahead" in ended.message


def test_a_zygote_that_cannot_mount_ahead_says_so_when_it_is_asked_for_a_run():
    require(Kind.NAMESPACES)
    with place() as made:
        spec = made.spec(Kind.NAMESPACES, "/bin/echo", "ran")
        assert isinstance(spec, SandboxSpec)
        with Zygote(Shown(root=str(made.folder / "gone"), binds=(), temporary_mb=16)) as zygote:
            ended = run_in_sandbox(spec, zygote=zygote, output_chars=100)
        assert ended.end is End.SETUP and "gone" in ended.message


def test_a_zygote_is_given_no_descriptor_and_no_variable_of_ours(monkeypatch, tmp_path):
    monkeypatch.setenv("HOMEOSTAT_TOKEN", "secret")
    held = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        with Zygote() as zygote:
            deadline = time.monotonic() + 60
            while not (spares := _children(zygote.process_id)):
                assert time.monotonic() < deadline
            for process in (zygote.process_id, *spares):
                environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
                assert {line.partition(b"=")[0] for line in environment if line} == {
                    b"PATH",
                    b"PYTHONDONTWRITEBYTECODE",
                }
                assert str(tmp_path) not in _open_paths(process)
    finally:
        os.close(held)


def _open_paths(process: int) -> set[str]:
    """Return what the descriptors of a process point at; those that it closes meanwhile are left out."""
    paths = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            paths.add(str(link.readlink()))
    return paths


def _command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text("utf-8", "replace")
    except OSError:
        return ""


def test_limits_are_those_of_the_spec_and_no_more():
    assert LIMITS.temporary_mb == 64
    assert dataclasses.replace(LIMITS, file_mb=4096).temporary_mb == LIMITS.memory_mb


def test_survivors_are_no_result():
    from homeostat.adapters.sandbox.run import _judge

    with pytest.raises(Unavailable):
        _judge({"ended": "survivors"}, "", 0, 1)


def test_where_the_kernel_refuses_namespaces_the_run_says_so_and_another_kind_is_not_harmed():
    """As in a container of others, whose filter refuses what ours refuses."""
    require(Kind.NAMESPACES)
    require(Kind.LANDLOCK)
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from homeostat.adapters.sandbox import kernel, seccomp\n"
        "from homeostat.adapters.sandbox.spec import Kind\n"
        "from sandbox_runs import run_code\n"
        "kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)\n"
        "kernel.load_seccomp(seccomp.assemble(seccomp.rules_with_mounts(), kernel.machine()))\n"
        "for kind in (Kind.NAMESPACES, Kind.LANDLOCK, Kind.NAMESPACES):\n"
        "    ended = run_code(kind, 'print(7)')\n"
        "    print(ended.end, ended.message, ended.output_tail.strip(), sep='|')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=True)
    refused = "setup|the kernel refuses namespaces to this user|"
    assert done.stdout.splitlines() == [refused, "exited||7", refused]
