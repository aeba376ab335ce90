"""The rules, one file each, one line each here."""

from homeostat.policy.rules import (
    agent_configuration,
    dangerous_calls,
    endpoints,
    environment_files,
    external_urls,
    forbidden_paths,
    generated_files,
    governance,
    hidden_characters,
    look_alikes,
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
    agent_configuration.RULE,
    external_urls.RULE,
    endpoints.RULE,
    weakened_tests.RULE,
    governance.RULE,
    look_alikes.RULE,
    environment_files.RULE,
    generated_files.RULE,
    size.RULE,
)
