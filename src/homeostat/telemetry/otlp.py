"""OTLP/JSON into the model's occurrences and ticks. This is the door; the parts are beside it."""

from homeostat.telemetry.cumulative import CumulativeReader
from homeostat.telemetry.otlp_json import Parsed, decode
from homeostat.telemetry.otlp_logs import LOG_ATTRIBUTES, decode_logs, parse_logs
from homeostat.telemetry.otlp_metrics import parse_metrics

__all__ = ["LOG_ATTRIBUTES", "CumulativeReader", "Parsed", "decode", "decode_logs", "parse_logs", "parse_metrics"]
