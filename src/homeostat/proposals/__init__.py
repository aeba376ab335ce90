"""Proposals: their life as a state machine, and their record as Markdown. Pure."""
