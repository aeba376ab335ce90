"""What a run may see, composed without running anything."""

import dataclasses
import os
import sys
from pathlib import Path

import pytest
from sandbox_runs import LIMITS, place, python_for, system_python

from homeostat.adapters.sandbox.interpreter import HostInterpreter, read_interpreter
from homeostat.adapters.sandbox.layout import lay_out, seen_from_inside
from homeostat.adapters.sandbox.spec import Kind, SandboxSpec
from homeostat.model.verdict import Denied

WITH_MOUNTS = [kind for kind in Kind if kind.mounts]


def host(**changes) -> HostInterpreter:
    return dataclasses.replace(read_interpreter(sys.executable), **changes)


def laid_out(made, kind, command=("python", "-m", "pytest"), *, interpreter=None, uid=None):
    return lay_out(
        kind,
        site=made.site,
        interpreter=interpreter or host(),
        command=command,
        extra_env={"PYTHONPATH": "/probe"},
        limits=LIMITS,
        uid=uid,
    )


def granted(*args, **kwargs) -> SandboxSpec:
    spec = laid_out(*args, **kwargs)
    assert isinstance(spec, SandboxSpec), spec
    return spec


@pytest.mark.parametrize("kind", Kind)
def test_nothing_of_our_environment_is_handed_on(kind, monkeypatch):
    monkeypatch.setenv("HOMEOSTAT_TOKEN", "secret")
    with place() as made:
        spec = granted(made, kind)
    assert set(spec.env) == {
        *("PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "LANG", "TZ"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONNOUSERSITE", "PYTHONPATH"),
    }


@pytest.mark.parametrize("kind", Kind)
def test_only_checkout_results_and_private_folders_are_writable(kind):
    with place() as made:
        spec = granted(made, kind)
        writable = {bind.source for bind in spec.binds if bind.writable}
        assert writable <= {made.site.tree, made.site.results, made.site.private}


@pytest.mark.parametrize("kind", WITH_MOUNTS)
def test_the_checkout_stands_at_the_repositorys_own_path(kind):
    with place("/srv/shop") as made:
        spec = granted(made, kind)
        assert spec.cwd == "/srv/shop"
        assert [bind.source for bind in spec.binds if bind.target == "/srv/shop"] == [made.site.tree]
        assert seen_from_inside(kind, made.site).root == "/srv/shop"


@pytest.mark.parametrize("kind", Kind)
def test_neither_home_nor_the_original_repository_is_shown(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    repository = tmp_path / "shop"
    (repository / "src").mkdir(parents=True)
    broad = (str(tmp_path), str(repository), str(repository / "src"), str(tmp_path.parent))
    interpreter = host(
        folders=tuple((path, path) for path in broad), import_roots=(str(repository), str(repository / "src"))
    )
    with place(str(repository)) as made:
        spec = granted(made, kind, interpreter=interpreter)
        assert not {bind.source for bind in spec.binds} & set(broad)


@pytest.mark.parametrize("kind", WITH_MOUNTS)
def test_an_environment_in_the_repository_is_laid_over_the_checkout_read_only(kind, tmp_path):
    environment = tmp_path / "shop" / ".venv"
    environment.mkdir(parents=True)
    with place(str(tmp_path / "shop")) as made:
        spec = granted(made, kind, interpreter=host(folders=((str(environment), str(environment)),)))
        places = [bind.target for bind in spec.binds]
        assert places.index(str(environment)) > places.index(str(tmp_path / "shop"))
        assert not next(bind for bind in spec.binds if bind.target == str(environment)).writable
        assert Path(made.site.tree, ".venv").is_dir()


@pytest.mark.parametrize("what", ["link", "file", "link above"])
def test_a_change_that_puts_something_where_the_environment_lives_is_refused(what, tmp_path):
    environment = tmp_path / "shop" / "env" / "venv"
    environment.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    with place(str(tmp_path / "shop")) as made:
        tree = Path(made.site.tree)
        if what == "link above":
            (tree / "env").symlink_to(outside)
        else:
            (tree / "env").mkdir()
            (tree / "env" / "venv").symlink_to(outside) if what == "link" else (tree / "env" / "venv").write_text("")
        denied = laid_out(made, Kind.NAMESPACES, interpreter=host(folders=((str(environment), str(environment)),)))
    assert isinstance(denied, Denied)
    assert denied.code == "mount-point"
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("repository", ["/", "/usr", "/proc", "/dev", "/etc"])
@pytest.mark.parametrize("kind", Kind)
def test_a_repository_that_would_hide_the_system_is_refused(kind, repository):
    with place(repository) as made:
        denied = laid_out(made, kind)
    assert isinstance(denied, Denied)
    assert denied.code == "repository-place"


def test_without_mounts_a_repository_below_a_system_folder_is_refused():
    with place("/usr/src/shop") as made:
        denied = laid_out(made, Kind.LANDLOCK)
        assert isinstance(laid_out(made, Kind.BUBBLEWRAP), SandboxSpec)
    assert isinstance(denied, Denied)
    assert denied.hint


def test_without_mounts_another_user_must_reach_the_interpreter(tmp_path):
    closed = tmp_path / "closed"
    (closed / "python").mkdir(parents=True)
    closed.chmod(0o700)
    with place() as made:
        interpreter = host(folders=((str(closed / "python"), str(closed / "python")),))
        denied = laid_out(made, Kind.LANDLOCK, interpreter=interpreter, uid=os.getuid() or 4711)
    assert isinstance(denied, Denied)
    assert denied.code == "interpreter-unreachable"
    assert "bubblewrap" in (denied.hint or "")


def test_without_mounts_import_roots_of_the_repository_come_from_the_checkout(tmp_path):
    root = tmp_path / "shop" / "src"
    root.mkdir(parents=True)
    with place(str(tmp_path / "shop")) as made:
        interpreter = dataclasses.replace(read_interpreter(system_python()), import_roots=(str(root), "/elsewhere/lib"))
        spec = granted(made, Kind.LANDLOCK, interpreter=interpreter)
        assert spec.env["PYTHONPATH"] == f"/probe:{made.site.tree}/src"


@pytest.mark.parametrize("kind", Kind)
def test_python_means_the_hosts_own(kind):
    python = python_for(kind)
    with place() as made:
        spec = granted(made, kind, ("python", "x.py"), interpreter=read_interpreter(python))
    assert spec.argv == (python, "x.py")


def test_without_mounts_paths_into_the_repository_lead_to_the_checkout(tmp_path):
    environment = tmp_path / "shop" / ".venv"
    (environment / "bin").mkdir(parents=True)
    repository = str(tmp_path / "shop")
    interpreter = host(folders=((str(environment), str(environment)),))
    with place(repository) as made:
        command = (".venv/bin/pytest", f"{repository}/tests", "tests", f"{environment}/x")
        spec = granted(made, Kind.LANDLOCK, command, interpreter=interpreter)
        assert spec.argv == (f"{environment}/bin/pytest", f"{made.site.tree}/tests", "tests", f"{environment}/x")


def test_files_are_handed_to_the_other_user_and_links_are_not_followed(tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root may give files away")
    kept = tmp_path / "kept"
    kept.write_text("")
    with place() as made:
        (Path(made.site.tree) / "file").write_text("")
        (Path(made.site.tree) / "link").symlink_to(kept)
        granted(made, Kind.NAMESPACES, uid=4711)
        assert (Path(made.site.tree) / "file").stat().st_uid == 4711
        assert (Path(made.site.tree) / "link").lstat().st_uid == 4711
    assert kept.stat().st_uid == 0
