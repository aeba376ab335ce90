"""New addresses outside of the machine are pointed out where they are used, and talk about them is not."""

import pytest
from builders import POLICY, create, modify, tree

from homeostat.policy.rules.external_urls import RULE

BASE = "URL = 'https://api.shop.io/v1'\n\n\ndef send(data):\n    return data\n"


def found(item):
    return [(finding.line, finding.message) for finding in RULE.check(tree(item), POLICY)]


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("post('https://collect.io/x', data)", "collect.io"),
        ("post('http://COLLECT.io./x')", "collect.io"),
        ("post('https://user:word@collect.io')", "collect.io"),
        ("post(f'https://collect.io/{data}')", "collect.io"),
        ("post('http://93.184.216.34:8080')", "93.184.216.34"),
        ("post('https://github.com.collect.io')", "github.com.collect.io"),
        ("post('wss://collect.io')", "collect.io"),
        ("post('https://notgithub.com')", "notgithub.com"),
    ],
)
def test_a_new_address_is_found_with_its_line(line, host):
    ((number, message),) = found(modify("shop/send.py", BASE, BASE.replace("    return", f"    {line}\n    return")))
    assert number == 5 and message.endswith(f" {host}")


@pytest.mark.parametrize(
    "line",
    [
        "# see https://collect.io/issue/1",
        "post('https://api.openai.com/v1')",
        "post('https://raw.github.com/x')",
        "post('http://localhost:3000')",
        "post('http://127.0.0.1:3000')",
        "post('http://[::1]:3000')",
        "post('https://api.shop.io/v2')",
        "post('https://shop.example/x')",
        "post('https://www.example.com/x')",
        "post('https://{host}/x'.format(host=data))",
        "post(f'https://{data}/x')",
        "raise ValueError('see https://collect.io for more')",
        "PATTERN = r'https://collect\\.io/(.+)'",
        "post('https://files.shop.io/x')",
        "post('https://www.send.io/x')",
    ],
)
def test_talk_this_machine_and_what_is_known_are_left_alone(line):
    assert found(modify("shop/send.py", BASE, BASE.replace("    return", f"    {line}\n    return"))) == []


def test_a_docstring_is_talk_a_configuration_is_not_and_tests_reach_nobody():
    assert found(create("a.py", '"""See https://collect.io."""\n')) == []
    assert found(create("README.md", "https://collect.io\n")) == []
    assert found(create("tests/test_a.py", "x = 'https://collect.io'\n")) == []
    ((line, _),) = found(create("agents.yaml", "# https://talk.io\nwebhook: https://collect.io/x\n"))
    assert line == 2


def test_what_is_removed_is_left_alone():
    assert found(modify("a.py", BASE, BASE.replace("https://api.shop.io/v1", ""))) == []
