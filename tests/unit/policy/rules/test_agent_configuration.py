"""No agent is given more than it had, whatever the form of the file; words and order are its own affair."""

import pytest
from builders import POLICY, create, modify, tree

from homeostat.model.proof import PolicySeverity
from homeostat.policy import check_patch
from homeostat.policy.rules.agent_configuration import RULE

BASE = """agents:
  planner:
    persona: You plan.
    extensions: [search, notes]
    paths:
      allowed_paths:
        - docs/
  writer:
    persona: You write.
    extensions:
      - notes
"""
TASKS = """tasks:
  - name: report
    schedule: "0 9 * * *"
    prompt: Say what happened.
    tools: [search]
"""


def found(item):
    return [(finding.severity.value, finding.line) for finding in RULE.check(tree(item), POLICY)]


def changed(old, new, path="agents/agents.yaml", base=BASE):
    assert old in base
    return modify(path, base, base.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("[search, notes]", "[search, notes, shell]", 4),
        ("[search, notes]", "[search, shell]", 4),
        ("      - notes\n", "      - notes\n      - shell\n", 12),
        ("        - docs/\n", "        - docs/\n        - /etc\n", 8),
        ("        - docs/\n", "        - /\n", 7),
        ("  writer:\n", "  writer:\n    permissions: {files: write}\n", 9),
        ("  writer:\n", "  writer:\n    run_as_root: yes\n    root: true\n", 10),
        ("  writer:\n", "  writer:\n    webhook_url: https://x.example/in\n", 9),
        ("  writer:\n", "  helper:\n    extensions: [notes]\n  writer:\n", 9),
        ("  writer:\n", "  writer:\n    <<: {tools: [shell]}\n", 9),
        ("    persona: You write.\n", "    persona: You write.\n    extensions: [shell]\n", 10),
    ],
)
def test_what_an_agent_did_not_have_blocks_at_its_line(old, new, line):
    assert found(changed(old, new)) == [("block", line)]


def test_what_one_agent_had_is_not_what_another_has():
    moved = BASE.replace("[search, notes]", "[search]").replace("      - notes\n", "      - notes\n      - search\n")
    assert found(modify("agents.yaml", BASE, moved)) == [("block", 12)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("You plan.", "You plan, and say why."),
        ("[search, notes]", "[notes, search]"),
        ("[search, notes]", "[search]"),
        ("[search, notes]", "\n      - search\n      - notes"),
        ("  writer:\n", "  # tools: [shell]\n  writer:\n"),
        ("  writer:\n", "  writer:\n    tools: []\n    permissions: none\n"),
    ],
)
def test_words_order_and_less_are_left_alone(old, new):
    assert found(changed(old, new)) == []


def test_a_schedule_stays_and_a_task_gets_no_restricted_tool():
    at = "agents/scheduled_tasks.yaml"
    assert found(changed("0 9", "*/5 9", at, TASKS)) == [("block", 3)]
    assert found(changed("[search]", "[search, run_command]", at, TASKS)) == [("block", 5)]
    assert found(changed("Say what", "Say shortly what", at, TASKS)) == []
    elsewhere = changed("[search]", "[search, run_command]", "jobs/scheduled.yaml", TASKS)
    assert found(elsewhere) == [("block", 5)], "a scheduled task, whoever's it is"
    assert found(changed("0 9", "0 8", "jobs/scheduled.yaml", TASKS)) == [("review", 3)]


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("agents.json", '{"agents": {"a": {"tools": ["x"]}}}\n', '{"agents": {"a": {"tools": ["x", "y"]}}}\n'),
        ("agents.toml", "[agents.a]\ntools = ['x']\n", "[agents.a]\ntools = ['x', 'y']\n"),
        ("agents.ini", "[agent a]\ntools = x\n", "[agent a]\ntools = x, y\n"),
        ("agents.yaml", "a: [\n", "a: [\ntools: y\n"),
        ("agents.yaml", "tools: [x]\n", "tools: [x]\ntools: [x, y]\n"),
    ],
)
def test_every_form_is_read_and_so_is_what_does_not_parse(path, before, after):
    assert {severity for severity, _ in found(modify(path, before, after))} == {"block"}


def test_elsewhere_a_person_looks():
    assert found(create("deploy.yaml", "allowed_hosts: [all]\n")) == [("review", 1)]
    assert found(create("tests/data/agents.yaml", "tools: [shell]\n")) == []
    assert found(create("src/agents.py", "tools = ['shell']\n")) == []


def test_aliases_within_aliases_are_not_followed_for_ever():
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    (finding,) = RULE.check(tree(create("agents.yaml", bomb)), POLICY)
    assert finding.severity is PolicySeverity.BLOCK and "20,000" in finding.message


def test_a_piece_of_a_file_is_read_by_its_lines():
    piece = """--- a/agents/agents.yaml
+++ b/agents/agents.yaml
@@ -40,4 +40,5 @@ agents:
     extensions:
       - notes
+      - shell
   writer:
     persona: You write.
"""
    shown = check_patch(piece)
    assert (shown.verdict, [item.line for item in shown.findings]) == ("block", [42])
    nameless = piece.replace("     extensions:\n", "       - search\n")
    assert check_patch(nameless).verdict == "review", "nobody sees which list it is"
