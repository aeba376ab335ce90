"""From a diff to a verdict: parse, resolve against the base, check, compare test runs. Pure."""
