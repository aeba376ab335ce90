"""What `homeostat run` hands a program, and who takes it away again."""

import json
import os
import subprocess
import sys

import pytest
from agents_harness import Place
from homeostat_agent.launch_file import read_launch
from homeostat_agent.protocol import launch_key

from homeostat.adapters.agents import launch as launch_module
from homeostat.adapters.agents.launch import place_bootstrap, sweep_launches
from homeostat.core.errors import Unavailable


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_the_launch_file_is_private_and_says_what_an_agent_needs(place):
    launch = place.launch()
    assert launch.file.stat().st_mode & 0o777 == 0o600
    read = read_launch(str(launch.file))
    assert read.launch_id == launch.id
    assert read.key == launch_key(place.key, launch.id)
    assert read.address() == str(place.socket)
    assert (read.repository, read.service_name) == (str(place.repository), "shop")
    assert (read.hmr_enabled, read.hmr_mode, read.commit) == (True, "safe", None)


def test_neither_the_master_key_nor_the_launchs_key_shows_outside_the_file(place):
    launch = place.launch()
    key = launch_key(place.key, launch.id).hex()
    assert place.key.hex() not in launch.file.read_text()
    for shown in (repr(launch), json.dumps(launch.environment({}))):
        assert key not in shown
        assert place.key.hex() not in shown


def test_every_launch_has_its_own_id_and_key(place):
    first, second = place.launch(), place.launch()
    assert first.id != second.id
    assert read_launch(str(first.file)).key != read_launch(str(second.file)).key


def test_the_environment_puts_ours_first_and_keeps_the_rest(place):
    launch = place.launch()
    environment = launch.environment({"PYTHONPATH": "/a:/b", "X": "y"})
    assert environment == {
        "PYTHONPATH": f"{launch.bootstrap}:/a:/b",
        "X": "y",
        "HOMEOSTAT_AGENT_LAUNCH": str(launch.file),
    }


@pytest.mark.parametrize("base", [{}, {"PYTHONPATH": ""}])
def test_no_empty_entry_comes_onto_the_path_because_it_would_mean_the_working_directory(place, base):
    launch = place.launch()
    assert launch.environment(base)["PYTHONPATH"] == str(launch.bootstrap)


def test_the_launch_of_an_outer_program_does_not_keep_the_agent_out_of_this_one(place):
    assert place.launch().environment({"HOMEOSTAT_AGENT_LAUNCH": "/old"})["HOMEOSTAT_AGENT_LAUNCH"] != "/old"


def _no_key(place):
    (place.state / "keys" / "agent.key").unlink()


def _open_key(place):
    (place.state / "keys" / "agent.key").chmod(0o644)


def _short_key(place):
    (place.state / "keys" / "agent.key").write_bytes(b"x" * 31)


@pytest.mark.parametrize("spoil", [_no_key, _open_key, _short_key])
def test_without_a_usable_key_nothing_is_launched(place, spoil):
    spoil(place)
    with pytest.raises(Unavailable) as refused:
        place.launch()
    assert refused.value.code == "agent-key-unusable"
    assert list((place.state / "run").glob("launch-*")) == []


def test_a_run_folder_that_others_may_enter_is_refused(place):
    (place.state / "run").chmod(0o750)
    with pytest.raises(Unavailable, match="nobody else may enter"):
        place.launch()


def test_the_bootstrap_holds_the_agent_and_is_made_once(place):
    folder = place.state / "run" / "bootstrap"
    first = place_bootstrap(folder)
    made_at = (first / "homeostat_agent" / "boot.py").stat().st_mtime_ns
    assert place_bootstrap(folder) == first
    assert (first / "homeostat_agent" / "boot.py").stat().st_mtime_ns == made_at
    assert sorted(path.name for path in first.iterdir()) == ["homeostat_agent", "sitecustomize.py"]
    assert not any(path.is_symlink() for path in first.rglob("*"))


@pytest.mark.parametrize("damage", ["altered", "missing", "added", "hook"])
def test_a_bootstrap_that_is_not_what_its_name_says_is_put_aside_and_made_anew(place, damage):
    folder = place.state / "run" / "bootstrap"
    made = place_bootstrap(folder)
    match damage:
        case "altered":
            (made / "homeostat_agent" / "boot.py").write_text("evil = True\n")
        case "missing":
            (made / "homeostat_agent" / "boot.py").unlink()
        case "added":
            (made / "homeostat_agent" / "more.py").write_text("")
        case "hook":
            (made / "sitecustomize.py").write_text("")
    again = place_bootstrap(folder)
    assert again == made
    fresh = subprocess.run(
        [sys.executable, "-c", "import homeostat_agent.boot as b; print(b.LAUNCH_VARIABLE, hasattr(b, 'evil'))"],
        env={"PYTHONPATH": str(again)},
        capture_output=True,
        text=True,
    )
    assert fresh.stdout == "HOMEOSTAT_AGENT_LAUNCH False\n"
    assert (again / "sitecustomize.py").read_bytes()
    assert not (again / "homeostat_agent" / "more.py").exists()


def test_compiled_files_of_the_hosts_python_do_not_make_a_bootstrap_count_as_altered(place):
    folder = place.state / "run" / "bootstrap"
    made = place_bootstrap(folder)
    (made / "homeostat_agent" / "__pycache__").mkdir()
    (made / "homeostat_agent" / "__pycache__" / "boot.cpython-39.pyc").write_bytes(b"x")
    place_bootstrap(folder)
    assert (made / "homeostat_agent" / "__pycache__" / "boot.cpython-39.pyc").exists()


# Who removes a launch file


def test_discarding_removes_the_file_and_may_be_done_twice(place):
    launch = place.launch()
    launch.discard()
    launch.discard()
    assert not launch.file.exists()


def _age(launch):
    os.utime(launch.file, (0, 0))


def _set_launcher(launch, pid, started):
    content = json.loads(launch.file.read_text())
    content["launcher"] = {"pid": pid, "started": started}
    launch.file.write_text(json.dumps(content))


def test_a_file_whose_launcher_has_ended_is_swept_away(place):
    launch = place.launch()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    _set_launcher(launch, ended.pid, "1")
    _age(launch)
    assert sweep_launches(place.state, in_use=()) == 1
    assert not launch.file.exists()


def test_a_file_is_kept_while_its_launcher_lives_or_its_launch_is_in_use_or_it_is_young(place):
    alive, used, young, reused = (place.launch() for _ in range(4))
    for launch in (used, young, reused):
        _set_launcher(launch, os.getpid() if launch is reused else 2**22, "1")
    for launch in (alive, used, reused):
        _age(launch)
    assert sweep_launches(place.state, in_use={used.id}) == 1
    assert [launch.file.exists() for launch in (alive, used, young, reused)] == [True, True, True, False]


def test_a_file_that_no_agent_would_believe_is_swept_away(place):
    launch = place.launch()
    launch.file.write_text("{")
    _age(launch)
    assert sweep_launches(place.state, in_use=()) == 1


def test_the_youth_that_protects_a_file_covers_a_slow_start():
    assert launch_module.SWEEP_AFTER_S >= 30
