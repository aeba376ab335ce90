"""The rules, one file each, one line each here."""

from homeostat.policy.rules import (
    dangerous_calls,
    environment_files,
    external_urls,
    forbidden_paths,
    hidden_characters,
    secrets,
    size,
    syntax,
    weakened_tests,
)
from homeostat.policy.rules.shape import Rule

RULES: tuple[Rule, ...] = (
    forbidden_paths.RULE,
    secrets.RULE,
    syntax.RULE,
    hidden_characters.RULE,
    dangerous_calls.RULE,
    external_urls.RULE,
    weakened_tests.RULE,
    environment_files.RULE,
    size.RULE,
)
