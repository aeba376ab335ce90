"""Attacks on a proof: code that wants out, that wants to stay, or that wants to be taken for good code."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sandbox_runs import (
    Shop,
    isolation,
    open_folder,
    ordinary_user,
    place,
    python_for,
    require,
    run_code,
    run_spec,
    system_python,
)

from homeostat.adapters import worker_process
from homeostat.adapters.sandbox import wire
from homeostat.adapters.sandbox.run import End
from homeostat.adapters.sandbox.spec import Kind, SandboxSpec
from homeostat.core.errors import Unavailable
from homeostat.model.proof import ProofVerdict
from homeostat.validation.compare import judge_proof
from homeostat.worker.proving import prove


@pytest.fixture(params=list(Kind), scope="module")
def kind(request) -> Kind:
    require(request.param)
    return request.param


@pytest.fixture(scope="module")
def shop(kind) -> Iterator[Shop]:
    folder = open_folder()
    yield Shop(folder / "shop", python=python_for(kind))
    shutil.rmtree(folder)


def alive(marker: str) -> list[int]:
    """Return every process of this machine that has `marker` in its command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in line:
                found.append(int(folder.name))
    return found


def wait_until(condition: Callable[[], object], what: str, *, timeout_s: float = 40.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def persistent(marker: str) -> str:
    """Return a module that starts daemons which carry `marker`, and then hangs."""
    return (
        "import os, subprocess, sys, time\n"
        "for _ in range(3):\n"
        f"    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(500)', {marker!r}],\n"
        "                     start_new_session=True)\n"
        "time.sleep(500)\n"
    )


def test_a_fork_bomb_ends_with_its_time_and_leaves_nothing(kind):
    marker = uuid.uuid4().hex
    code = (
        f"import os  # {marker}\n"
        "while True:\n"
        "    try:\n        os.fork()\n        os.setsid()\n    except OSError: pass\n"
    )
    assert run_code(kind, code, timeout_s=2.0).end is End.TIME
    assert alive(marker) == []


def test_a_chain_of_forks_that_never_stands_still_is_caught(kind):
    marker = uuid.uuid4().hex
    code = f"import os  # {marker}\nwhile True:\n    if os.fork(): os._exit(0)\n    os.setsid()\n"
    ended = run_code(kind, code)
    assert (ended.end, ended.code) == (End.EXITED, 0)
    assert alive(marker) == []


def test_a_process_that_ignores_every_signal_is_ended(kind):
    marker = uuid.uuid4().hex
    code = (
        f"import signal, time  # {marker}\n"
        "for n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "while True: time.sleep(100)\n"
    )
    assert run_code(kind, code, timeout_s=1.5).end is End.TIME
    assert alive(marker) == []


def test_a_tree_of_memory_is_ended_before_it_hurts(kind):
    code = (
        "import os, time\n"
        "while True:\n"
        "    try: child = os.fork()\n"
        "    except OSError: time.sleep(0.01); continue\n"
        "    if child == 0:\n        x = bytearray(b'x') * (40 << 20); time.sleep(500)\n"
    )
    assert run_code(kind, code, tree_memory_mb=200, max_processes=60).end is End.MEMORY


if platform.machine() == "x86_64":

    def test_machine_code_for_the_32_bit_abi_is_ended(kind):
        """int 0x80 would reach calls by numbers that the filter reads as others."""
        code = (
            "import ctypes, mmap\n"
            "code = bytes.fromhex('b814000000cd80c3')  # mov eax, 20; int 0x80; ret\n"
            "page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
            "page.write(code)\n"
            "address = ctypes.addressof(ctypes.c_char.from_buffer(page))\n"
            "print(ctypes.CFUNCTYPE(ctypes.c_int)(address)())\n"
        )
        ended = run_code(kind, code)
        assert ended.code in (128 + signal.SIGSYS, 128 + signal.SIGSEGV)  # SEGV: the kernel has no such ABI


def test_the_launcher_and_the_init_process_cannot_be_read_or_written(kind):
    code = (
        "import os\n"
        "for process in (1, os.getppid()):\n"
        "    for name in ('mem', 'environ', 'fd/3'):\n"
        "        try: open(f'/proc/{process}/{name}', 'r+b' if name == 'mem' else 'rb').read(1)\n"
        "        except (OSError, ValueError): continue\n"
        "        print('opened', process, name)\n"
        "print('done', end='')"
    )
    assert run_code(kind, code).output_tail == "done"


def test_killing_everything_that_can_be_killed_ends_only_the_run(kind):
    """Whatever the code does to its own sandbox, the run does not count as passed, and we live on."""
    code = (
        "import os, signal\nos.kill(-1, signal.SIGKILL)\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(os.getpid(), 9)"
    )
    try:
        ended = run_code(kind, code)
    except Unavailable:
        return
    assert ended.code != 0


def test_the_read_only_parts_stay_as_they_are(kind):
    code = (
        "import os, sys\n"
        "for place in (sys.prefix, sys.base_prefix, '/usr', '/etc', '/', os.environ['PATH'].split(':')[0]):\n"
        "    for make in (os.mkdir, lambda path: open(path, 'w')):\n"
        "        try: make(place + '/planted')\n        except OSError: continue\n        print('wrote', place)\n"
        "print('done', end='')"
    )
    assert run_code(kind, code).output_tail == "done"


def test_results_and_checkout_full_of_traps_are_read_and_removed(shop, kind, monkeypatch):
    # A folder of our own for temporary files: others run proofs at the same time.
    monkeypatch.setattr(tempfile, "tempdir", str(shop.root.parent))
    traps = (
        "import os\n"
        "results = os.environ['HOMEOSTAT_PROBE_RESULTS']\n"
        "os.mkfifo(results + '/0.jsonl'); os.symlink('/etc/shadow', results + '/00.jsonl')\n"
        "os.mkdir(results + '/000.jsonl'); open(results + '/x.jsonl', 'wb').write(b'[' * 100000)\n"
        "here = os.getcwd()\n"
        "for _ in range(200):\n    os.mkdir('d' * 100); os.chdir('d' * 100)\n"
        "os.chdir(here); os.mkdir('closed'); open('closed/file', 'w').close(); os.chmod('closed', 0)\n"
        "def price(n): return 3 * n\n"
    )
    runs = prove(shop.job(candidate=shop.change(**{"src/shop/price.py": traps})), [kind])
    assert runs.candidate is not None
    assert runs.candidate.outcomes
    assert not list(shop.root.parent.glob("homeostat-proof-*"))


FORGERIES = {
    "removes its results": "for name in os.listdir(results): os.unlink(results + '/' + name)",
    "closes its results": "os.chmod(results, 0)",
    "leaves at once": "os._exit(0)",
    "leaves by a signal handler": (
        "signal.signal(signal.SIGALRM, lambda *a: os._exit(0)); signal.setitimer(signal.ITIMER_REAL, 0.001)"
    ),
    "replaces the runner": "os.execv('/bin/true', ['true'])",
    "runs no test": "unittest.TestLoader.discover = lambda *a: unittest.TestSuite(); os.kill(os.getpid(), 9)",
    "skips every test": "raise unittest.SkipTest('no')",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_change_that_forges_its_result_never_passes(shop, kind, name):
    text = f"import os, signal, unittest\nresults = os.environ['HOMEOSTAT_PROBE_RESULTS']\n{FORGERIES[name]}"
    candidate = shop.change(**{"src/shop/price.py": text + "def price(n): return 4\n"})
    runs = prove(shop.job(candidate=candidate, timeout_s=10.0), [kind])
    report = judge_proof(runs, changed_python=True, policy=(), duration_ms=1)
    assert report.verdict is not ProofVerdict.PASSED, report


def start_hub(shop: Shop, kind: Kind, marker: str, temporary: Path) -> subprocess.Popen[bytes]:
    """Start a process that proves a hanging change, as the hub does, and return when its daemons run."""
    job = shop.job(candidate=shop.change(**{"src/shop/price.py": persistent(marker)}), timeout_s=120.0)
    request = wire.encode_request(job, [kind])
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from homeostat.adapters import worker_process\nfrom homeostat.adapters.sandbox import answers\n"
        "from homeostat.core.errors import Unavailable\n"
        f"prover = worker_process.WorkerProver(state_dir={str(temporary)!r})\n"
        f"try: answers.decode_runs(prover._ask([], {request!r}, timeout_s=100))\n"
        "except Unavailable as error: print(error.code, flush=True)\n"
    )
    environment = {**os.environ, "TMPDIR": str(temporary)}
    hub = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    wait_until(lambda: len(alive(marker)) >= 3, "the daemons of the change never started")
    return hub


@pytest.fixture
def temporary() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="homeostat-temporary-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def workers_of(hub: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{hub}/task/{hub}/children").read_text().split()]


def test_a_hub_that_is_killed_takes_worker_and_sandbox_along(shop, kind, temporary):
    marker = uuid.uuid4().hex
    hub = start_hub(shop, kind, marker, temporary)
    (worker,) = workers_of(hub.pid)
    hub.kill()
    hub.communicate()
    wait_until(lambda: not alive(marker), "sandboxed processes outlived the hub")
    wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the worker outlived the hub")
    wait_until(lambda: not list(temporary.iterdir()), "the checkouts outlived the hub")


def test_a_worker_that_is_killed_takes_the_sandbox_along_and_is_no_answer(shop, kind, temporary):
    marker = uuid.uuid4().hex
    hub = start_hub(shop, kind, marker, temporary)
    (worker,) = workers_of(hub.pid)
    os.kill(worker, signal.SIGKILL)
    assert hub.communicate(timeout=60)[0] == b"worker-died\n"
    wait_until(lambda: not alive(marker), "sandboxed processes outlived the worker")
    assert list(temporary.iterdir()) == []


def test_a_launcher_that_is_killed_takes_the_sandbox_along_and_is_no_answer(shop, kind, temporary):
    marker = uuid.uuid4().hex
    hub = start_hub(shop, kind, marker, temporary)
    (worker,) = workers_of(hub.pid)
    (zygote,) = workers_of(worker)
    (launcher,) = workers_of(zygote)
    os.kill(launcher, signal.SIGKILL)
    assert hub.communicate(timeout=60)[0] == b"sandbox-launcher-died\n"
    wait_until(lambda: not alive(marker), "sandboxed processes outlived the launcher")
    assert list(temporary.iterdir()) == []


def test_a_zygote_that_is_killed_takes_the_sandbox_along_and_is_no_answer(shop, kind, temporary):
    marker = uuid.uuid4().hex
    hub = start_hub(shop, kind, marker, temporary)
    (worker,) = workers_of(hub.pid)
    (zygote,) = workers_of(worker)
    os.kill(zygote, signal.SIGKILL)
    hub.communicate(timeout=60)
    wait_until(lambda: not alive(marker), "sandboxed processes outlived the zygote")
    assert list(temporary.iterdir()) == []


def test_a_worker_that_hangs_is_ended_and_is_no_answer(shop, kind, tmp_path):
    marker = uuid.uuid4().hex
    job = shop.job(candidate=shop.change(**{"src/shop/price.py": persistent(marker)}), timeout_s=120.0)
    with pytest.raises(Unavailable) as caught:
        worker_process.WorkerProver(state_dir=tmp_path)._ask([], wire.encode_request(job, [kind]), timeout_s=3.0)
    assert caught.value.code == "worker-timeout"
    wait_until(lambda: not alive(marker), "sandboxed processes outlived the worker")


def test_a_worker_gets_no_key_and_no_token(monkeypatch):
    for name in (
        "HOMEOSTAT_TOKEN",
        "HOMEOSTAT_HUB_URL",
        "HOMEOSTAT_STATE_DIR",
        "AWS_SECRET_ACCESS_KEY",
        "SSH_AUTH_SOCK",
    ):
        monkeypatch.setenv(name, "secret")
    assert set(worker_process._environment()) <= {
        *("HOME", "TMPDIR", "PATH", "LANG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    }


def test_an_ordinary_user_can_prove_in_every_kind():
    with ordinary_user() as user:
        script = (
            "import json, sys\nfrom pathlib import Path\n"
            "from homeostat.adapters.sandbox import wire\nfrom homeostat.worker.proving import prove\n"
            "job, kinds = wire.decode_request(sys.stdin.buffer.read())\n"
            "print(json.dumps([json.loads(wire.encode_runs(prove(job, [kind])))['runs'] for kind in kinds]))\n"
        )
        folder = open_folder()
        try:
            shop = Shop(folder / "shop", python=system_python())
            kinds = [found for found in Kind if isolation()[found.value].usable]
            attack = (
                f"import os\nfor home in ({str(user.home)!r},):\n"
                "    for attempt in (lambda: os.chmod(home, 0o777), lambda: open(home + '/planted', 'w'),\n"
                "                    lambda: print('seen', os.listdir(home))):\n"
                "        try: attempt()\n        except OSError: pass\n"
                "def price(n): return 3 * n\n"
            )
            job = shop.job(candidate=shop.change(**{"src/shop/price.py": attack}))
            user.own(folder)
            mode = user.home.stat().st_mode
            done = user.run("-c", script, stdin=wire.encode_request(job, kinds))
            assert done.returncode == 0, done.stderr.decode()
            found = json.loads(done.stdout)
            assert [runs["sandbox"] for runs in found] == [kind.value for kind in kinds]
            for runs in found:
                assert runs["candidate"]["outcomes"] == dict.fromkeys(
                    ("test_price.T.test_one", "test_price.T.test_two"), "passed"
                ), runs
                assert runs["candidate"]["ran_from_candidate"] is True
                assert "seen" not in runs["candidate"]["output_tail"]
            assert user.home.stat().st_mode == mode
            assert list(user.home.iterdir()) == []
        finally:
            shutil.rmtree(folder)


def test_the_devices_that_programs_need_are_there_and_no_disk_is(kind):
    code = (
        "import os\nopen('/dev/urandom', 'rb').read(4); open('/dev/null', 'w').write('x')\n"
        "for name in ('mem', 'kmsg', 'sda', 'vda', 'fuse', 'kvm'):\n"
        "    try: os.close(os.open('/dev/' + name, os.O_RDONLY | os.O_NONBLOCK))\n"
        "    except OSError: continue\n"
        "    print(name)\n"
        "print('done', end='')"
    )
    assert run_code(kind, code).output_tail == "done"


def test_a_spec_for_a_folder_that_is_gone_runs_nothing(kind):
    with place() as made:
        spec = made.spec(kind, "/bin/echo", "ran")
        assert isinstance(spec, SandboxSpec)
        shutil.rmtree(made.site.tree)
        ended = run_spec(spec, output_chars=100)
        Path(made.site.tree).mkdir()
    assert (ended.end, ended.code) == (End.SETUP, None)
