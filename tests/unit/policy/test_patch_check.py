"""A patch as text is judged by what it shows, or against the files that it is for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.model.settings import PolicySettings
from homeostat.policy import check_patch
from homeostat.policy.document import policy_in_force

BASE = "import os\n\n\ndef total(items):\n    first = items[0]\n    rest = items[1:]\n    return first + sum(rest)\n"
HUNK = """--- a/shop/cart.py
+++ b/shop/cart.py
@@ -5,3 +5,4 @@ def total(items):
     first = items[0]
+{0}
     rest = items[1:]
     return first + sum(rest)
"""
CREATED = "diff --git a/{0} b/{0}\nnew file mode 100644\n--- /dev/null\n+++ b/{0}\n@@ -0,0 +1 @@\n+{1}\n"
RENAMED = "diff --git a/{0} b/{1}\nsimilarity index 100%\nrename from {0}\nrename to {1}\n"


def hunk(line):
    return HUNK.replace("{0}", line)


def created(path, line="x = 1"):
    return CREATED.replace("{0}", path).replace("{1}", line)


@pytest.mark.parametrize("base", [None, {"shop/cart.py": BASE.encode()}])
def test_a_small_change_is_allowed_and_a_dangerous_one_is_shown_at_its_line(base):
    allowed = check_patch(hunk("    items = sorted(items)"), base=base)
    assert (allowed.verdict, allowed.findings) == ("allow", ())
    shown = check_patch(hunk("    os.system(first)").encode(), base=base)
    assert (shown.verdict, [item.line for item in shown.findings]) == ("review", [6])


def test_without_the_files_what_surrounds_a_hunk_counts_for_nothing():
    moved = hunk("    os.system(rest)").replace("     rest = items[1:]", "-    os.system(rest)").replace("+5,4", "+5,3")
    assert check_patch(moved).verdict == "allow", "as much of it as before"
    far = hunk("    os.system(first)").replace("-5,3 +5,4", "-99999999,3 +99999999,4")
    assert check_patch(far).verdict == "review"


@pytest.mark.parametrize(
    ("patch", "verdict", "rule"),
    [
        (created(".env"), "block", "forbidden-paths"),
        (created("Homeostat.TOML"), "block", "forbidden-paths"),
        (RENAMED.replace("{0}", "docker-compose.yml").replace("{1}", "old.yml"), "block", "forbidden-paths"),
        (created("lib/site-packages/evil.pth"), "block", "forbidden-paths"),
        (created("conftest.py"), "review", "environment-files"),
        (created("a.py", "def f(:"), "block", "syntax"),
        (created("a.py", "x = '\u202e'"), "block", "hidden-characters"),
        (hunk("    key = 'AKIA" + "Q3EGX2T7KD5LMNOP'"), "block", "secrets"),
        (created("../out.py"), "block", "patch"),
        (created("link").replace("100644", "120000"), "block", "patch"),
        ("", "block", "patch"),
        ("prose\n", "block", "patch"),
        (hunk("    x = 1")[:-20], "block", "patch"),
    ],
)
def test_each_is_judged_by_the_rule_that_knows_it(patch, verdict, rule):
    decision = check_patch(patch)
    assert decision.verdict == verdict and rule in {item.rule for item in decision.findings}


def test_with_the_files_a_patch_must_fit():
    decision = check_patch(hunk("    x = 1"), base={"shop/cart.py": b"something else\n"})
    assert decision.verdict == "block" and "stale-context" in decision.findings[0].message
    assert check_patch(hunk("    x = 1"), base={}).verdict == "block"


def test_the_policy_in_force_is_the_one_that_is_given():
    document = policy_in_force(PolicySettings(forbidden_paths=("shop/**",)))
    assert check_patch(hunk("    x = 1"), document=document).verdict == "block"


@given(st.binary(max_size=200), st.integers(0, 150))
def test_no_bytes_are_allowed_by_an_error(noise, place):
    raw = hunk("    os.system(first)").encode()
    decision = check_patch(raw[:place] + noise + raw[place:])
    assert decision.verdict in ("allow", "review", "block")
    assert decision.verdict == "allow" or decision.findings
