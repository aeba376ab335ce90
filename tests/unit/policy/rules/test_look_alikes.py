"""Names that read like others are pointed out; other languages are not."""

import pytest
from builders import POLICY, create, modify, rename, tree

from homeostat.policy import check_patch
from homeostat.policy.rules.look_alikes import RULE

CYRILLIC_A, CYRILLIC_E, CYRILLIC_O, GREEK_O = "\u0430", "\u0435", "\u043e", "\u03bf"


def found(item):
    return [finding.line for finding in RULE.check(tree(item), POLICY)]


@pytest.mark.parametrize(
    "line",
    [
        f"t{CYRILLIC_O}tal = 1",
        f"is_{CYRILLIC_A}dmin = check()",
        f"from shop import c{GREEK_O}unt",
        "\uff45val(x)",
        f"role = 'adm{chr(0x456)}n'",
        f"{CYRILLIC_A}{CYRILLIC_O} = 1",
    ],
)
def test_a_name_with_letters_that_only_look_latin_is_found(line):
    assert found(modify("a.py", "x = 1\n", f"x = 1\n{line}\n")) == [2]


@pytest.mark.parametrize(
    "line",
    [
        "caf\u00e9 = 1",
        "name = '\u043f\u0440\u0438\u0432\u0435\u0442 \u043e\u043d\u043e'",
        f"x = 1  # t{CYRILLIC_O}tal",
        "\u03bb = \u03bd + 1",
        "\u0394t = 1",
        "'\u65e5\u672c'",
    ],
)
def test_other_languages_and_signs_are_left_alone(line):
    assert found(modify("a.py", "x = 1\n", f"x = 1\n{line}\n")) == []


@pytest.mark.parametrize(
    "path",
    [
        f"tests/c{CYRILLIC_O}nftest.py",
        "shop/cart.py ",
        "shop./cart.py",
        "confest.py",
        "CODEOWNER",
        "docker-compsoe.yml",
    ],
)
def test_a_path_that_reads_like_another_is_found(path):
    assert found(create(path, "x = 1\n")) == [None]
    assert found(rename("a.py", path, "x = 1\n")) == [None]
    assert found(modify(path, "x = 1\n", "x = 2\n")) == [], "it was there before"


@pytest.mark.parametrize(
    "path", ["shop/cart.py", ".gitignore", "shop/content.py", "docs/\u65e5\u672c.md", "a/b.c/d.py"]
)
def test_ordinary_paths_are_left_alone(path):
    assert found(create(path, "x = 1\n")) == []


@pytest.mark.parametrize(
    "path",
    [f".{CYRILLIC_E}nv", "SYSTEM_C\u041eNTRACT.md", "\uff0eenv", ".env.", "Docker-Compose.yml ", "h\u043emeostat.toml"],
)
def test_no_other_spelling_leads_to_a_protected_path(path):
    created = f"diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"
    assert check_patch(created.replace("a/x b/x", f"a/{path} b/{path}")).verdict == "block"
