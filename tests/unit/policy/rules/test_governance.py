"""Edits of what guards the others are pointed out: their files, their switches, their calls."""

import pytest
from builders import POLICY, create, delete, modify, rename, tree

from homeostat.policy.rules.governance import RULE

BASE = '''"""Orders."""

REQUIRE_APPROVAL = True


def cancel(user, order):
    """Cancel it."""
    check_permission(user, order)
    audit.record("cancel", user)
    order.cancel()


def is_authorized(user, order):
    """Say whether they may."""
    return user.id == order.owner
'''


def found(item):
    return [finding.line for finding in RULE.check(tree(item), POLICY)]


@pytest.mark.parametrize(
    "path",
    [
        "policies/forbidden.yaml",
        "shop/policy.py",
        "shop/audit_log.py",
        "shop/audit/writer.py",
        ".github/CODEOWNERS",
        "CODEOWNERS",
        "config/allowlist.json",
        "rules/who.cedar",
        "guard_policies.yaml",
        "shop/permissions.yaml",
    ],
)
def test_a_file_that_guards_is_pointed_out(path):
    assert found(create(path, "x = 1\n")) == [None]
    assert found(delete(path, "x = 1\n")) == [None]
    assert found(rename(path, "old.txt", "x = 1\n")) == [None]


@pytest.mark.parametrize(
    "path",
    ["docs/policy.md", "shop/cart.py", "shop/police.py", "shop/permissions.py", "tests/test_policy.py", "audits.svg"],
)
def test_talk_and_other_files_are_left_alone(path):
    assert found(create(path, "x = 1\n")) == []


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("REQUIRE_APPROVAL = True", "REQUIRE_APPROVAL = False", [3]),
        ("    check_permission(user, order)\n", "", [None]),
        ('    audit.record("cancel", user)\n', "", [None]),
        ("    return user.id == order.owner", "    return True", [15]),
        ("    return user.id == order.owner", "    return", [15]),
        ("order.cancel()", "order.cancel(skip_verification=True)", [10]),
        ("order.cancel()", "order.cancel(verify=False)", [10]),
    ],
)
def test_a_weaker_control_is_found(old, new, lines):
    assert old in BASE
    assert found(modify("shop/orders.py", BASE, BASE.replace(old, new))) == lines


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("order.cancel()", "order.cancel(force)"),
        ("REQUIRE_APPROVAL = True", "# REQUIRE_APPROVAL = False\nREQUIRE_APPROVAL = True"),
        ("check_permission(user, order)", "check_permission(order, user)"),
        ("user.id ==", "user.key =="),
        ("order.cancel()", "order.signal = None"),
        ("order.cancel()", "order.isolation_level = None"),
    ],
)
def test_what_is_as_strict_as_before_is_left_alone(old, new):
    assert old in BASE
    assert found(modify("shop/orders.py", BASE, BASE.replace(old, new))) == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("app.yaml", "require_signatures: false"),
        ("app.json", '  "auto_approve": true,'),
        ("app.toml", "strict_mode = false  # for now"),
        ("app.env.sample", "SANDBOX=off"),
    ],
)
def test_a_switch_in_a_configuration_is_found(path, line):
    assert found(modify(path, "x: 1\n", f"x: 1\n{line}\n")) == [2]
