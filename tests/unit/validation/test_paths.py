"""Which paths a patch may name."""

import pytest

from homeostat.validation.paths import MAX_NAME_BYTES, MAX_PATH_BYTES, collision_key, parents, path_fault, shown


@pytest.mark.parametrize(
    "path",
    [
        "x.txt",
        "src/app/main.py",
        "café 1.txt",
        "日本語/ファイル.py",
        "a b/c d.txt",
        'say "hi".txt',
        "...",
        "a..b",
        "..a/b",
        ".gitignore",
        ".github/workflows/ci.yml",
        ".gitattributes",
        "git",
        "git~x",
        "my.git/file",
        "x.git",
        "ab:c",
        "notes~",
        "~$document",
        "👩‍💻.md",
        "n" * MAX_NAME_BYTES,
    ],
)
def test_a_plain_relative_path_is_fine(path):
    assert path_fault(path) is None


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("/", "absolute"),
        ("//host/share", "absolute"),
        ("..", "`..`"),
        ("../x", "`..`"),
        ("a/../../x", "`..`"),
        ("a/..", "`..`"),
        (".", "`.`"),
        ("./x", "`.`"),
        ("a/./b", "`.`"),
        ("a//b", "empty name"),
        ("a/", "empty name"),
        ("a\\b", "backslash"),
        ("..\\x", "backslash"),
        ("\\\\host\\share", "backslash"),
        ("C:/x", "drive"),
        ("c:x", "drive"),
        ("~/x", "home"),
        ("~root/.ssh/authorized_keys", "home"),
        ("a\0b", "U+0000"),
        ("a\nb", "U+000A"),
        ("a\rb", "U+000D"),
        ("a\tb", "U+0009"),
        ("a\x1bb", "U+001B"),
        ("a\x7fb", "U+007F"),
        ("a\x85b", "U+0085"),
        ("a\u2028b", "U+2028"),
        ("a\u2029b", "U+2029"),
        ("a\u202eb", "U+202E"),
        ("a\u2066b", "U+2066"),
        ("a\ud800b", "surrogate"),
        ("n" * (MAX_NAME_BYTES + 1), "longer"),
        ("é" * 128, "longer"),
        ("/".join(["n" * 200] * 21), f"{MAX_PATH_BYTES} bytes"),
    ],
)
def test_a_path_that_could_leave_the_tree_or_hide_is_a_fault(path, fault):
    assert fault in path_fault(path)


@pytest.mark.parametrize(
    "name",
    [
        ".git",
        ".GIT",
        ".Git",
        ".git.",
        ".git..",
        ".git ",
        ".git . ",
        ".git:stream",
        ".git::$INDEX_ALLOCATION",
        ".git ::$INDEX_ALLOCATION",
        "git~1",
        "GIT~1",
        "GiT~1 .",
        "git~2",
        ".g\u200cit",
        ".gi\u200dt",
        "\u2060.git",
        "\ufeff.git",
        ".git\ufeff",
        ".g\u00adit",
        ".g\ufe0fit",
        ".g\u034fit",
        ".g\u180eit",
        ".\U000e0001git",
        "\uff0egit",
        ".\uff47\uff49\uff54",
        "\u2024git",
        ".gi\u0301t",
    ],
)
@pytest.mark.parametrize("around", ["{}", "{}/config", "sub/{}/hooks/post-checkout", "sub/{}"])
def test_every_name_that_some_file_system_takes_for_the_git_folder_is_a_fault(name, around):
    assert "`.git`" in path_fault(around.format(name))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("README.md", "readme.md"),
        ("Src/a", "src/a"),
        ("caf\u00e9", "cafe\u0301"),
        ("CAF\u00c9", "cafe\u0301"),
        ("STRASSE", "stra\u00dfe"),
        ("\u212bngstrom", "\u00e5ngstrom"),
    ],
)
def test_names_that_differ_in_case_or_composition_collide(one, other):
    assert collision_key(one) == collision_key(other)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a b", "ab"), ("a.txt", "a_txt"), ("e", "é"), ("x/y", "xy")])
def test_other_names_do_not_collide(one, other):
    assert collision_key(one) != collision_key(other)


def test_parents_are_named_from_the_outermost():
    assert parents("a/b/c.txt") == ["a", "a/b"]
    assert parents("c.txt") == []


@pytest.mark.parametrize("path", ["a\nb", "a\x1b[31mb", b"a\xffb\n", "a\u202eb", "x" * 5000])
def test_a_name_in_a_message_is_printable_and_short(path):
    text = shown(path)
    assert text.isprintable()
    assert len(text) <= 160
