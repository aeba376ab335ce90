"""Requests are counted per route in every server, with no word of configuration in the program."""

import importlib.util
import signal
import socket
import struct

import pytest

FASTAPI = """
import asyncio
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
app = FastAPI()

@app.get("/orders/{order_id}")
async def order(order_id: int):
    return {"price": {1: 10, 2: 20}[order_id]}

@app.get("/stream")
def stream():
    async def pieces():
        yield b"a"
        await asyncio.sleep(0.2)
        yield b"b"
    return StreamingResponse(pieces())

def create():
    return app
"""

FLASK = """
import time
from flask import Flask
app = Flask(__name__)

@app.get("/orders/<int:order_id>")
def order(order_id):
    return {"price": {1: 10, 2: 20}[order_id]}

@app.get("/stream")
def stream():
    def pieces():
        yield b"a"
        time.sleep(0.2)
        yield b"b"
    return app.response_class(pieces())
"""

DJANGO = """
import os, sys, time
from django.conf import settings
settings.configure(DEBUG=False, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x" * 50, USE_TZ=True,
                   INSTALLED_APPS=["django.contrib.staticfiles"], STATIC_URL="static/", MIDDLEWARE=[])
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path

def order(request, order_id):
    return JsonResponse({"price": {1: 10, 2: 20}[order_id]})

def pieces():
    yield b"a"
    time.sleep(0.2)
    yield b"b"

def stream(request):
    return StreamingHttpResponse(pieces())

urlpatterns = [path("orders/<int:order_id>", order), path("stream", stream)]
"""

AIOHTTP = """
import asyncio, sys
from aiohttp import web

async def order(request):
    return web.json_response({"price": {1: 10, 2: 20}[int(request.match_info["order_id"])]})

async def stream(request):
    answer = web.StreamResponse()
    await answer.prepare(request)
    await answer.write(b"a")
    await asyncio.sleep(0.2)
    await answer.write(b"b")
    return answer

app = web.Application()
app.add_routes([web.get("/orders/{order_id}", order), web.get("/stream", stream)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))
"""

PLAIN_WSGI = """
import sys, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/orders/"):
        price = {"1": 10, "2": 20}[path.rsplit("/", 1)[1]]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(price).encode()]
    if path == "/stream":
        return stream(start_response)
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"no"]

def stream(start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"a"
    time.sleep(0.2)
    yield b"b"

if __name__ == "__main__":
    from wsgiref.simple_server import make_server
    make_server("127.0.0.1", int(sys.argv[1]), app).serve_forever()
"""

UVICORN = ["-m", "uvicorn", "--port", "{port}", "--log-level", "warning"]
GUNICORN = ["-W", "ignore", "-m", "gunicorn", "--bind", "127.0.0.1:{port}"]
MANAGE = "import service, sys; from django.core.management import execute_from_command_line as e; e(sys.argv)"
TERM = signal.SIGTERM
SERVERS = {
    # name: packages, source, command, stop signal, template of the order route
    "uvicorn": (["uvicorn", "fastapi"], FASTAPI, [*UVICORN, "service:app"], TERM, "/orders/{order_id}"),
    "uvicorn-factory": (["uvicorn"], FASTAPI, [*UVICORN, "--factory", "service:create"], TERM, "/orders/{order_id}"),
    "uvicorn-workers": (["uvicorn"], FASTAPI, [*UVICORN, "--workers", "2", "service:app"], TERM, "/orders/{order_id}"),
    "uvicorn-django": (["uvicorn", "django"], DJANGO, [*UVICORN, "asgi:app"], TERM, "/orders/<int:order_id>"),
    "hypercorn": (
        ["hypercorn", "fastapi"],
        FASTAPI,
        ["-m", "hypercorn", "--bind", "127.0.0.1:{port}", "service:app"],
        TERM,
        "/orders/{order_id}",
    ),
    "hypercorn-wsgi": (
        ["hypercorn", "flask"],
        FLASK,
        ["-m", "hypercorn", "--bind", "127.0.0.1:{port}", "wsgi:service:app"],
        TERM,
        "/orders/<int:order_id>",
    ),
    "gunicorn": (
        ["gunicorn", "flask"],
        FLASK,
        [*GUNICORN, "--workers", "2", "service:app"],
        TERM,
        "/orders/<int:order_id>",
    ),
    "gunicorn-threads": (
        ["gunicorn", "flask"],
        FLASK,
        [*GUNICORN, "--threads", "2", "--preload", "service:app"],
        TERM,
        "/orders/<int:order_id>",
    ),
    "gunicorn-gevent": (
        ["gunicorn", "gevent", "flask"],
        FLASK,
        [*GUNICORN, "--worker-class", "gevent", "service:app"],
        TERM,
        "/orders/<int:order_id>",
    ),
    "gunicorn-asgi": (
        ["gunicorn", "fastapi"],
        FASTAPI,
        [*GUNICORN, "--worker-class", "asgi", "service:app"],
        TERM,
        "/orders/{order_id}",
    ),
    "gunicorn-uvicorn": (
        ["gunicorn", "uvicorn", "fastapi"],
        FASTAPI,
        [*GUNICORN, "--worker-class", "uvicorn.workers.UvicornWorker", "service:app"],
        TERM,
        "/orders/{order_id}",
    ),
    "flask-run": (
        ["flask"],
        FLASK,
        ["-m", "flask", "--app", "service", "run", "--port", "{port}"],
        signal.SIGINT,
        "/orders/<int:order_id>",
    ),
    "waitress": (
        ["waitress", "flask"],
        FLASK,
        ["-m", "waitress", "--listen", "127.0.0.1:{port}", "service:app"],
        signal.SIGINT,
        "/orders/<int:order_id>",
    ),
    "wsgiref": ([], PLAIN_WSGI, ["service.py", "{port}"], signal.SIGINT, "/orders/{id}"),
    "django-runserver": (
        ["django"],
        DJANGO,
        ["-c", MANAGE, "runserver", "--noreload", "{port}"],
        signal.SIGINT,
        "/orders/<int:order_id>",
    ),
    "aiohttp": (["aiohttp"], AIOHTTP, ["service.py", "{port}"], signal.SIGINT, "/orders/{order_id}"),
}


def require(packages):
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.mark.parametrize("begin", ["outside", "inside"])
@pytest.mark.parametrize("name", SERVERS)
def test_requests_errors_and_latency_are_counted_per_route(name, begin, host, free_port):
    """Also in a program that begins the capture itself, while its server imports it."""
    packages, source, command, stop, template = SERVERS[name]
    require(packages)
    if begin == "inside":
        host.begin_inside = True
        source = "import sitecustomize; sitecustomize.begin()\n" + source
    host.write("service.py", source)
    host.write("asgi.py", "import service\napp = service.get_asgi_application()\n")

    paths = ["/orders/1?token=secret", "/orders/2", "/orders/13", "/missing/17", "/stream"]
    arguments = [part.replace("{port}", str(free_port)) for part in command]
    run = host.serve(*arguments, paths=paths, port=free_port, stop=stop)

    assert run.answers == {paths[0]: 200, paths[1]: 200, paths[2]: 500, paths[3]: 404, paths[4]: 200}, run.stderr
    stream = "/stream"
    assert run.requests() == {
        (template, ""): 2,
        (template, "KeyError"): 1,
        ("(unmatched)", ""): 1,
        (stream, ""): 1,
    }, (run.reports, run.stderr)
    sums = {route: sum_s for report in run.reports for route, _, _, sum_s in report["requests"]}
    assert sums[stream] >= 0.2, "a streamed response counts to its end"
    errors = [item for item in run.occurrences() if item["exception_type"] == "KeyError"]
    assert len(errors) == 1, errors
    assert errors[0]["location"][0] == "service.py"
    assert errors[0]["location"][2] == ("app" if name == "wsgiref" else "order")
    assert errors[0]["route"] == template
    assert [report["failures"] for report in run.reports] == [{}] * len(run.reports)
    assert "secret" not in str(run.reports)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_known_to_serve_before_anybody_asked_it(name, host, free_port):
    """So that its silence is never taken for the health of a worker."""
    packages, source, command, stop, _ = SERVERS[name]
    require(packages)
    host.write("service.py", source)
    host.write("asgi.py", "import service\napp = service.get_asgi_application()\n")
    arguments = [part.replace("{port}", str(free_port)) for part in command]
    run = host.serve(
        *arguments, paths=[], port=free_port, stop=stop, enough=lambda run: any(item["serves"] for item in run.reports)
    )
    assert run.requests() == {}
    assert any(report["serves"] for report in run.reports), run.stderr


def test_a_server_that_runs_already_is_counted_from_then_on(host, free_port):
    """uvicorn, when the program attaches while it starts up."""
    host.begin_inside = True
    source = FASTAPI.replace("app = FastAPI()", "app = FastAPI(lifespan=lifespan)").replace(
        "from fastapi import FastAPI",
        "import contextlib\nfrom fastapi import FastAPI\n\n@contextlib.asynccontextmanager\nasync def lifespan(app):\n"
        "    import sitecustomize\n    sitecustomize.begin()\n    yield\n",
    )
    host.write("service.py", source)
    arguments = [part.replace("{port}", str(free_port)) for part in [*UVICORN, "service:app"]]
    run = host.serve(*arguments, paths=["/orders/1"], port=free_port)
    assert run.requests() == {("/orders/{order_id}", ""): 1}


STREAMING = """
import asyncio, time
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
app = FastAPI()

@app.get("/endless")
async def endless():
    async def pieces():
        while True:
            yield b"x" * 100_000
            await asyncio.sleep(0.01)
    return StreamingResponse(pieces())

@app.post("/upload")
async def upload(request: Request):
    return len(await request.body())

@app.get("/block")
async def block():
    time.sleep(0.3)
    return 1
"""


def leave(port: int, request: bytes) -> None:
    """Send a request, wait for the first bytes of an answer to a GET, and reset the connection."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    with connection:
        connection.sendall(request)
        if request.startswith(b"GET"):
            assert connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_clients_that_leave_are_no_errors_and_a_blocked_loop_is_seen(host, free_port):
    """In uvicorn, over real connections; its own logger, which does not propagate, is heard too."""
    host.write("service.py", STREAMING)

    def also(port: int) -> None:
        leave(port, b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        leave(port, b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"no request at all\r\n\r\n")
            assert b"400" in connection.recv(1000)

    run = host.serve(
        *[part.replace("{port}", str(free_port)) for part in [*UVICORN, "service:app"]],
        paths=["/block"],
        port=free_port,
        also=also,
        enough=lambda run: sum(run.requests().values()) >= 3 and bool(run.occurrences()),
    )
    assert run.requests() == {("/block", ""): 1, ("/endless", ""): 1, ("/upload", ""): 1}, run.stderr
    assert [(item["logger"], item["message"]) for item in run.occurrences()] == [
        ("uvicorn.error", "Invalid HTTP request received.")
    ]
    assert run.report["errors_logged"] == 0
    assert run.report["loop_lag_ms_max"] >= 200
