"""What of a change of files concerns running processes."""

import pytest

from homeostat.model.change import EXECUTABLE, REGULAR, ChangeKind, FileChange, FileState, TreeChange
from homeostat.rollout.live import module_sources, plan_change

OLD, NEW = b"def f():\n    return 1\n", b"def f():\n    return 2\n"


def modify(path, old=OLD, new=NEW, *, mode=REGULAR):
    return FileChange(
        kind=ChangeKind.MODIFY,
        path=path,
        old_path=path,
        before=FileState(content=old, mode=REGULAR),
        after=FileState(content=new, mode=mode),
    )


def create(path, content=NEW):
    after = FileState(content=content, mode=REGULAR)
    return FileChange(kind=ChangeKind.CREATE, path=path, old_path=path, before=None, after=after)


def delete(path):
    before = FileState(content=OLD, mode=REGULAR)
    return FileChange(kind=ChangeKind.DELETE, path=path, old_path=path, before=before, after=None)


def rename(old, new):
    state = FileState(content=OLD, mode=REGULAR)
    return FileChange(kind=ChangeKind.RENAME, path=new, old_path=old, before=state, after=state)


def plan(*files):
    return plan_change(TreeChange(files=files))


def test_a_changed_body_can_go_live():
    found = plan(modify("app/m.py"))
    assert found.needs_live
    assert found.restart_reasons == ()
    assert [(item.qualname, item.action) for item in found.modules[0].definitions] == [("f", "swap")]
    assert module_sources(TreeChange(files=(modify("app/m.py"),))) == (("app/m.py", OLD.decode(), NEW.decode()),)


def test_one_unsafe_definition_gives_the_reason():
    found = plan(modify("app/m.py"), modify("app/n.py", b"X = [1]\n", b"X = [2]\n"))
    assert found.needs_live
    assert found.restart_reasons == ("app/n.py:1: <module>: a statement of the module's top level changed",)


@pytest.mark.parametrize(
    "path",
    [
        "tests/test_m.py",
        "app/tests/data.json",
        "app/test_m.py",
        "app/m_test.py",
        "conftest.py",
        "docs/guide.md",
        "docs/conf.py",
        "README.md",
        "LICENSE",
        "CHANGELOG.rst",
        ".github/workflows/ci.yml",
        "app/m.pyi",
    ],
)
def test_files_for_people_and_tests_concern_no_process(path):
    found = plan(modify(path), modify("README.md"))
    assert not found.needs_live
    assert module_sources(TreeChange(files=(modify(path),))) == ()


@pytest.mark.parametrize(
    "path",
    [
        "app/prompt.md",
        "app/README.md",
        "app/docs/page.txt",
        "requirements.txt",
        "pyproject.toml",
        "app/data.json",
        "README.toml",
        "LICENSES.txt",
        "app/m.so",
        "app/m.pyx",
        "docsy/x.css",
        "Makefile",
    ],
)
def test_any_other_file_that_is_not_python_needs_a_restart(path):
    assert plan(modify(path)).restart_reasons
    assert plan(create(path)).restart_reasons
    assert plan(delete(path)).restart_reasons


@pytest.mark.parametrize(
    "item",
    [
        delete("app/m.py"),
        rename("app/m.py", "app/n.py"),
        rename("app/m.py", "tests/m.py"),
        rename("tests/m.py", "app/m.py"),
        create("app/__init__.py"),
        modify("app/m.py", b"\xff\xfe\x00", NEW),
        modify("app/m.py", OLD, b"# coding: no-such-thing\n"),
        modify("app/m.py", OLD, b"def f(:\n"),
    ],
    ids=lambda item: f"{item.kind.value} {item.path}",
)
def test_what_cannot_be_swapped_needs_a_restart(item):
    found = plan(item)
    assert found.needs_live
    assert found.restart_reasons


def test_a_new_module_needs_nothing_until_it_is_imported():
    assert not plan(create("app/new.py")).needs_live
    for statement in ("import app.new", "from app import new", "from . import new", "from .new import x"):
        importing = modify("app/m.py", OLD, statement.encode() + b"\n" + OLD)
        for path in ("app/new.py", "src/app/new.py"):
            beside = modify(path.replace("new", "m"), OLD, statement.encode() + b"\n" + OLD)
            (reason,) = plan(create(path), beside).restart_reasons
            assert "it imports a file that the change makes" in reason
        assert plan(create("app/newer.py"), importing).restart_reasons == ()
    inside = modify("app/m.py", OLD, b"def f():\n    import app.new\n    return app.new.x\n")
    assert plan(create("app/new.py"), inside).restart_reasons == ()


def test_a_change_of_mode_alone_concerns_no_process():
    item = modify("app/m.py", OLD, OLD, mode=EXECUTABLE)
    assert not plan(item).needs_live
    assert module_sources(TreeChange(files=(item,))) == ()


def test_source_is_decoded_by_its_own_declaration():
    old = "# coding: latin-1\ndef f():\n    return 'ä'\n".encode("latin-1")
    new = "# coding: latin-1\ndef f():\n    return 'ö'\n".encode("latin-1")
    assert plan(modify("app/m.py", old, new)).restart_reasons == ()
    assert "'ö'" in module_sources(TreeChange(files=(modify("app/m.py", old, new),)))[0][2]
    marked = plan(modify("app/m.py", b"\xef\xbb\xbf" + OLD, b"\xef\xbb\xbf" + NEW))
    assert marked.restart_reasons == ()


def test_windows_line_ends_are_no_difference():
    found = plan(modify("app/m.py", OLD, OLD.replace(b"\n", b"\r\n")))
    assert found.restart_reasons == ()
    assert found.modules[0].definitions == ()
