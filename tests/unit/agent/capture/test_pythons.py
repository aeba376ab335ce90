"""The capture in the interpreters that hosts have, which need not be the hub's."""

import subprocess
from pathlib import Path

import pytest
from interpreters import VERSIONS, interpreter

AGENT = Path(__file__).parents[4] / "agent" / "src"
SERVICE = """
import asyncio, logging, sys, threading
from urllib.error import HTTPError
from urllib.request import urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

log = logging.getLogger("shop")
log.propagate = False

class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass

def price(number):
    return {1: 10}[number]

def app(environ, start_response):
    number = int(environ["PATH_INFO"].rsplit("/", 1)[1])
    if number == 3:
        log.warning("mail to ann@customer.example about %d", number)
    body = str(price(1 if number == 3 else number)).encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]

server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
thread.start()
statuses = []
for number in (1, 2, 3):
    try:
        with urlopen("http://127.0.0.1:%d/orders/%d?q=1" % (server.server_port, number)) as answer:
            statuses.append(answer.status)
    except HTTPError as error:
        statuses.append(error.code)
server.shutdown()
thread.join()
server.server_close()

async def main():
    asyncio.get_running_loop().call_soon(price, 4)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

asyncio.run(main())
print(sys.version_info[:2], statuses)
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_service_is_captured_by_every_supported_python(host, version):
    python = interpreter(version)
    host.write("service.py", SERVICE)
    run = host.run("-X", "dev", "-W", "error", "service.py", python=python)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split(")")[1].strip() == "[200, 500, 200]"
    assert run.requests() == {("/orders/{id}", ""): 2, ("/orders/{id}", "KeyError"): 1}
    assert run.report["failures"] == {}
    seen = [(item["logger"], item["exception_type"], item["route"]) for item in run.occurrences()]
    assert seen == [("wsgi", "KeyError", "/orders/{id}"), ("shop", "", "/orders/{id}"), ("asyncio", "KeyError", "")]
    assert {item["location"][2] for item in run.occurrences()} == {"price", "app"}
    assert "customer" not in str(run.reports)


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_but_the_standard_library_is_imported_and_not_the_heavy_parts_of_it(version):
    heavy = ["asyncio", "inspect", "dataclasses", "json", "socket", "http", "urllib", "email"]
    code = (
        "import sys; before = set(sys.modules); import homeostat_agent.capture, homeostat_agent.otlp; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        f"print(sorted(new & set({heavy!r}))); "
        "print(sorted(new - set(getattr(sys, 'stdlib_module_names', new)) - {'homeostat_agent'}))"
    )
    done = subprocess.run(
        [interpreter(version), "-S", "-c", code],
        env={"PYTHONPATH": str(AGENT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["[]", "[]"]
