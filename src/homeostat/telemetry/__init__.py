"""Telemetry in: OTLP/JSON read, cleaned a second time, grouped by template. Pure."""
