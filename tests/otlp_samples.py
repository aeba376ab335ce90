"""OTLP bodies as senders post them, in the mapping of JSON."""

RECORD = {
    "severityNumber": 17,
    "body": {"stringValue": "no order 4711 for ada@example.com"},
    "attributes": [
        {"key": "exception.type", "value": {"stringValue": "KeyError"}},
        {"key": "code.file.path", "value": {"stringValue": "shop.py"}},
        {"key": "user.password", "value": {"stringValue": "hunter2"}},
    ],
}
BAD = {"severityNumber": 99}
POINT = {
    "startTimeUnixNano": "1767605400000000000",
    "timeUnixNano": "1767605401000000000",
    "count": "2",
    "sum": 0.1,
    "bucketCounts": ["2", "0"],
    "explicitBounds": [1.0],
    "attributes": [{"key": "http.route", "value": {"stringValue": "/price"}}],
}


def logs(*records):
    return {"resourceLogs": [{"scopeLogs": [{"scope": {"name": "shop"}, "logRecords": list(records)}]}]}


def metrics(*points):
    metric = {
        "name": "http.server.request.duration",
        "unit": "s",
        "histogram": {"aggregationTemporality": 1, "dataPoints": list(points)},
    }
    resource = {"attributes": [{"key": "service.instance.id", "value": {"stringValue": "p-1"}}]}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]}
