"""What a host's Python needs, read from real virtual environments."""

import json
import sys
import venv
from pathlib import Path

import pytest

from homeostat.adapters.sandbox.interpreter import read_interpreter
from homeostat.adapters.sandbox.spec import is_within
from homeostat.core.errors import InvalidInput


@pytest.fixture
def environment(tmp_path) -> Path:
    venv.create(tmp_path / "venv", symlinks=True)
    return tmp_path / "venv"


def packages_of(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


def seen(environment: Path) -> dict[str, str]:
    return dict(read_interpreter(str(environment / "bin" / "python")).folders)


def test_the_environment_and_the_base_are_needed(environment):
    found = read_interpreter(str(environment / "bin" / "python"))
    assert found.executable == str(environment / "bin" / "python")
    assert found.environment == str(environment)
    assert found.version == sys.version_info[:2]
    assert str(environment) in dict(found.folders)
    assert sys.base_prefix in dict(found.folders)


def test_folders_of_pth_lines_and_editable_installs_are_import_roots(environment, tmp_path):
    for name in ("plain", "editable/src"):
        (tmp_path / name).mkdir(parents=True)
    packages = packages_of(environment)
    (packages / "some.pth").write_text(f"# a comment\n{tmp_path}/plain\n{tmp_path}/missing\nimport os\n\n")
    record = packages / "thing-1.0.dist-info" / "direct_url.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"url": f"file://{tmp_path}/editable", "dir_info": {"editable": True}}))
    roots = read_interpreter(str(environment / "bin" / "python")).import_roots
    assert roots == (f"{tmp_path}/plain", f"{tmp_path}/editable/src", f"{tmp_path}/editable")


def test_a_broken_record_of_an_install_is_passed_over(environment):
    for name, text in (("a", "not json"), ("b", "[]"), ("c", '{"url": "https://x/y", "dir_info": {"editable": true}}')):
        record = packages_of(environment) / f"{name}-1.dist-info" / "direct_url.json"
        record.parent.mkdir()
        record.write_text(text)
    assert read_interpreter(str(environment / "bin" / "python")).import_roots == ()


def test_a_line_of_code_in_a_pth_file_is_not_run(environment, tmp_path):
    (packages_of(environment) / "evil.pth").write_text(f"import pathlib; pathlib.Path('{tmp_path}/ran').touch()\n")
    read_interpreter(str(environment / "bin" / "python"))
    assert not (tmp_path / "ran").exists()


def test_an_environment_behind_a_link_is_seen_by_both_names(environment, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(environment)
    assert seen(link)[str(link)] == str(environment.resolve())


@pytest.mark.parametrize("text", [None, "#!/bin/sh\nexit 3\n", "#!/bin/sh\necho hello\n"])
def test_what_is_no_python_is_refused_with_a_remedy(tmp_path, text):
    python = tmp_path / "python"
    if text is not None:
        python.write_text(text)
        python.chmod(0o755)
    with pytest.raises(InvalidInput) as caught:
        read_interpreter(str(python))
    assert caught.value.code == "interpreter-broken"
    assert caught.value.hint


def test_a_path_is_within_a_folder_only_by_whole_names():
    assert is_within("/a/b", "/a")
    assert is_within("/a", "/a")
    assert is_within("/a", "/")
    assert not is_within("/ab", "/a")
