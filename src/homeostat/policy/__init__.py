"""Policy: what a change may touch and contain. Built-in rules, additions from settings. Pure."""
