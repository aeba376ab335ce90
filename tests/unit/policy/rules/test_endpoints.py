"""New routes and timed jobs are pointed out; those that were there, and calls that are called alike, are not."""

import pytest
from builders import POLICY, create, modify, tree

from homeostat.policy.rules.endpoints import RULE

BASE = "from app import app\n\n\n@app.get('/orders')\ndef orders():\n    return []\n"


def found(item):
    return [(finding.line, finding.message) for finding in RULE.check(tree(item), POLICY)]


@pytest.mark.parametrize(
    "line",
    [
        "@app.post('/admin/run')",
        "@bp.route('/hook', methods=['POST'])",
        "@router.websocket('/ws')",
        "app.add_url_rule('/x', 'x', orders)",
        "urlpatterns += [path('debug/', orders)]",
        "app.router.add_get('/x', orders)",
        "@scheduler.scheduled_job('cron', minute=5)",
        "scheduler.add_job(orders, 'interval', seconds=5)",
    ],
)
def test_a_new_way_in_is_found_with_its_line(line):
    more = "def run():\n    return 1\n" if line.startswith("@") else ""
    ((number, _),) = found(modify("shop/api.py", BASE, f"{BASE}\n\n{line}\n{more}"))
    assert number == 9


@pytest.mark.parametrize(
    "line",
    ["x = os.path.join('/a', 'b')", "x = Path('/a')", "client.post(url)", "x = d.get('orders')"],
)
def test_calls_that_are_called_alike_are_left_alone(line):
    assert found(modify("shop/api.py", BASE, f"{BASE}\n\n{line}\n")) == []


def test_what_was_there_and_what_tests_make_is_left_alone():
    assert found(modify("shop/api.py", BASE, BASE.replace("[]", "[1]"))) == []
    assert found(modify("shop/api.py", BASE, "import os\n" + BASE)) == []
    assert found(create("tests/test_api.py", BASE)) == []
