"""OTLP in protobuf: requests into the JSON mapping that the parsers read, and answers out of it.

What cannot be decoded raises `InvalidInput` (``bad-telemetry``): protobuf itself refuses what is cut off, holds
text that is not UTF-8, or is nested deeper than 100 messages. Unknown fields are passed over.
"""

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from homeostat.core.errors import InvalidInput

_STATUS_MESSAGE = 2 << 3 | 2
"""The key of `google.rpc.Status.message`: field 2, with a length before it."""


def read_logs(data: bytes) -> dict[str, Any]:
    """Read an ``ExportLogsServiceRequest`` as its JSON mapping."""
    return _read(ExportLogsServiceRequest, data)


def read_metrics(data: bytes) -> dict[str, Any]:
    """Read an ``ExportMetricsServiceRequest`` as its JSON mapping."""
    return _read(ExportMetricsServiceRequest, data)


def logs_answer(rejected: int, message: str) -> bytes:
    """Return an ``ExportLogsServiceResponse``; ``partial_success`` is there only when something was rejected."""
    if not rejected:
        return b""
    partial = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
    return bytes(ExportLogsServiceResponse(partial_success=partial).SerializeToString())


def metrics_answer(rejected: int, message: str) -> bytes:
    """Return an ``ExportMetricsServiceResponse`` in the same way."""
    if not rejected:
        return b""
    partial = ExportMetricsPartialSuccess(rejected_data_points=rejected, error_message=message)
    return bytes(ExportMetricsServiceResponse(partial_success=partial).SerializeToString())


def status(message: str) -> bytes:
    """Return a ``google.rpc.Status`` with this message and, as OTLP has it, without a code."""
    text = message.encode("utf-8", "backslashreplace")
    length, size = len(text), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes([_STATUS_MESSAGE]) + bytes(size) + text


def _read(kind: type[Message], data: bytes) -> dict[str, Any]:
    try:
        return _mapped(kind.FromString(data))
    except DecodeError as error:
        raise InvalidInput("bad-telemetry", "the body is not OTLP in protobuf") from error


def _mapped(message: Message) -> dict[str, Any]:
    """Return a message's fields by their JSON names.

    Protobuf's own `MessageToDict` does the same, and takes ten times as long: too long for a body that consists
    of empty messages.
    """
    return {field.json_name: _READERS.get(field.type, _as_it_is)(value) for field, value in message.ListFields()}


def _as_it_is(value: Any) -> Any:
    return value if isinstance(value, _SCALARS) else list(value)


def _messages(value: Any) -> Any:
    return _mapped(value) if isinstance(value, Message) else [_mapped(item) for item in value]


def _bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return [_bytes(item) for item in value]


def _doubles(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else _NOT_FINITE.get(value, "NaN")
    return [_doubles(item) for item in value]


_SCALARS = (str, int, float, bool)
_NOT_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}
_READERS: Mapping[int, Callable[[Any], Any]] = {
    FieldDescriptor.TYPE_MESSAGE: _messages,
    FieldDescriptor.TYPE_BYTES: _bytes,
    FieldDescriptor.TYPE_DOUBLE: _doubles,
}
