"""Errors that a program tells nobody by logging: it prints them, or answers them with a 500."""

import asyncio
import io
import logging
import sys
import traceback
from typing import Any

import pytest
from homeostat_agent.capture.asgi import AsgiApp
from homeostat_agent.capture.occurrence import ERROR, WARNING
from homeostat_agent.capture.wsgi import WsgiApp

LOOP = """
import io, logging, sys, traceback
from traceback import print_exc

def work(item):
    return 1 / item

def attempt(tell):
    try:
        work(0)
    except ZeroDivisionError:
        tell()

attempt(traceback.print_exc)
attempt(print_exc)
attempt(lambda: traceback.print_exception(*sys.exc_info()))
attempt(lambda: traceback.print_exc(file=io.StringIO()))
attempt(traceback.format_exc)
attempt(lambda: logging.getLogger("x").debug("it", exc_info=True))
attempt(lambda: (traceback.print_exc(), logging.exception("it")))
try:
    raise KeyboardInterrupt
except KeyboardInterrupt:
    traceback.print_exc()
traceback.print_exc()
print("done")
"""

LOST = """
import socketserver

class Handler(socketserver.BaseRequestHandler):
    pass

server = socketserver.TCPServer(("127.0.0.1", 0), Handler)
for error in (BrokenPipeError("gone"), ValueError("of the program")):
    try:
        raise error
    except Exception:
        server.handle_error(None, ("127.0.0.1", 1))
server.server_close()
"""


def test_what_a_loop_prints_is_recorded_with_its_place_and_what_it_only_renders_is_not(host):
    host.write("program.py", LOOP)
    run = host.run("program.py")
    assert (run.returncode, run.stdout) == (0, "done\n"), run.stderr
    seen = [(item["logger"], item["exception_type"], tuple(item["location"])) for item in run.occurrences()]
    place = ("program.py", 6, "work")
    assert seen == [("traceback.print_exception", "ZeroDivisionError", place)] * 4
    assert run.report["errors_logged"] == 4
    assert run.report["failures"] == {}
    assert run.stderr.count("ZeroDivisionError: division by zero") == 5, "all that was printed is still printed"


def test_what_rich_prints_is_recorded(host):
    host.write(
        "program.py",
        "from rich.console import Console\n"
        "try:\n    {}['k']\nexcept KeyError:\n    Console(stderr=True).print_exception()\n",
    )
    run = host.run("program.py")
    assert [(item["exception_type"], item["location"][1]) for item in run.occurrences()] == [("KeyError", 3)]
    assert "KeyError" in run.stderr


def test_a_client_that_is_gone_is_no_error_of_a_plain_socket_server(host):
    host.write("program.py", LOST)
    run = host.run("program.py")
    assert "BrokenPipeError" in run.stderr
    assert [item["exception_type"] for item in run.occurrences()] == ["ValueError"]


class Odd:
    """What `traceback` refuses, in words of its own."""


@pytest.mark.parametrize("arguments", [(), (Odd(),), (1, 2, 3, 4, 5, 6, 7, 8)])
def test_a_call_that_fails_fails_as_before(captured, arguments):
    for function in (traceback.print_exception, traceback.format_exception):
        with pytest.raises((TypeError, AttributeError, ValueError)):
            function(*arguments)
    assert captured.occurrences() == []


def answer_asgi(captured: Any, app: Any, *, scope: dict[str, Any] | None = None) -> None:
    around = AsgiApp(
        app, traffic=captured.capture._traffic, lag=captured.capture._lag, failures=captured.capture.failures
    )

    async def nothing(*_: Any) -> dict[str, Any]:
        return {}

    asyncio.run(around({"type": "http", "path": "/orders/7", **(scope or {})}, nothing, nothing))


def answer_wsgi(captured: Any, app: Any) -> None:
    around = WsgiApp(app, traffic=captured.capture._traffic, failures=captured.capture.failures)
    list(around({"PATH_INFO": "/orders/7"}, lambda *_: None))


async def respond(send: Any, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(("status", "severity"), [(500, ERROR), (502, WARNING), (503, WARNING)])
def test_an_exception_that_an_application_makes_an_answer_of_is_recorded(captured, status, severity):
    def total() -> None:
        raise LookupError("no such order")

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        try:
            total()
        except LookupError:
            await respond(send, status)

    answer_asgi(captured, app)
    (item,) = captured.occurrences()
    assert (item.logger, item.exception_type, item.route) == ("asgi", "LookupError", "/orders/{id}")
    assert item.severity_number == severity
    assert captured.capture.failures.as_dict() == {}


def test_an_exception_that_is_rendered_into_the_answer_is_recorded(captured):
    def app(_environ: Any, start_response: Any) -> list[bytes]:
        try:
            raise LookupError("no such order")
        except LookupError:
            page = traceback.format_exc()
        start_response("500 Internal Server Error", [])
        return [page.encode()]

    answer_wsgi(captured, app)
    assert [item.exception_type for item in captured.occurrences()] == ["LookupError"]
    assert list(captured.capture.vitals()["requests"]) == [("/orders/{id}", "LookupError")]


def test_an_exception_that_is_given_to_start_response_is_recorded(captured):
    def app(_environ: Any, start_response: Any) -> list[bytes]:
        try:
            raise LookupError("no such order")
        except LookupError:
            told: Any = sys.exc_info()
        start_response("500 Internal Server Error", [], told)
        return [b""]

    answer_wsgi(captured, app)
    assert [item.exception_type for item in captured.occurrences()] == ["LookupError"]


@pytest.mark.parametrize("status", [200, 302, 404, 422])
def test_an_exception_that_ends_well_is_no_error(captured, status):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        try:
            raise LookupError("no such order")
        except LookupError:
            traceback.format_exc()
            await respond(send, status)

    answer_asgi(captured, app)
    assert captured.occurrences() == []


@pytest.mark.parametrize(
    "tell",
    [
        lambda: logging.getLogger("shop").exception("it"),
        lambda: logging.getLogger("shop").error("it"),
        traceback.print_exc,
    ],
)
def test_what_was_told_already_is_not_told_again(captured, tell):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        try:
            raise LookupError("no such order")
        except LookupError:
            tell()
            await respond(send, 500)

    answer_asgi(captured, app)
    assert len(captured.occurrences()) == 1


@pytest.mark.parametrize(("status", "kept"), [(200, 1), (404, 0), (403, 0), (500, 1)])
@pytest.mark.parametrize("first", ["print", "answer"])
def test_what_is_printed_in_a_request_is_an_error_unless_it_is_the_clients(captured, status, kept, first):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        try:
            raise LookupError("no such order")
        except LookupError:
            if first == "print":
                traceback.print_exc()
            await respond(send, status)
            if first == "answer":
                traceback.print_exc()

    answer_asgi(captured, app)
    assert [item.exception_type for item in captured.occurrences()] == ["LookupError"] * kept


def test_an_answer_without_any_exception_names_the_route_and_where_it_can_the_function(captured):
    captured.repository.joinpath("shop.py").write_text("def orders():\n    pass\n")
    namespace: dict[str, Any] = {}
    path = captured.repository / "shop.py"
    exec(compile(path.read_text(), str(path), "exec"), namespace)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await respond(send, 500)

    answer_asgi(captured, app)
    answer_asgi(captured, app, scope={"endpoint": namespace["orders"]})
    first, second = captured.occurrences()
    assert (first.message, first.route, first.location.path) == (
        "Internal Server Error was answered",
        "/orders/{id}",
        "",
    )
    assert tuple(second.location) == ("shop.py", 1, "orders")


def test_nothing_of_a_request_is_kept_when_it_is_over(captured):
    kept: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        from homeostat_agent.capture.traffic import current_request

        kept.append(current_request())
        try:
            raise LookupError("x")
        except LookupError:
            await respond(send, 500)

    answer_asgi(captured, app)
    assert kept[0].suspect is None and kept[0].endpoint() is None


def test_an_exception_that_a_flask_program_answers_by_itself_has_its_place(host, free_port):
    host.write(
        "shop.py",
        "from flask import Flask\n"
        "app = Flask('shop')\n"
        "@app.errorhandler(Exception)\n"
        "def failed(error):\n    return {'error': 'internal'}, 500\n"
        "@app.route('/orders/<number>')\n"
        "def order(number):\n    return {}[number]\n",
    )
    run = host.serve(
        "-m", "flask", "--app", "shop:app", "run", "--port", str(free_port), paths=["/orders/7"] * 2, port=free_port
    )
    assert run.answers == {"/orders/7": 500}
    seen = [(item["exception_type"], tuple(item["location"]), item["route"]) for item in run.occurrences()]
    assert seen == [("KeyError", ("shop.py", 8, "order"), "/orders/<number>")] * 2


DJANGO = """
import sys
from django.conf import settings
settings.configure(DEBUG=False, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x" * 50,
                   MIDDLEWARE=["shop.Calming"], INSTALLED_APPS=["django.contrib.staticfiles"], STATIC_URL="static/")
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views import View
from django.views.decorators.csrf import csrf_exempt

class Calming:
    def __init__(self, get_response):
        self.get_response = get_response
    def __call__(self, request):
        return self.get_response(request)
    def process_exception(self, request, exception):
        return JsonResponse({"error": "internal"}, status=500)

def raised(request, number):
    return JsonResponse({"price": {}[number]})

@csrf_exempt
def hidden(request):
    try:
        return {}["x"]
    except KeyError:
        return HttpResponse("sorry", status=500)

class Hiding(View):
    def get(self, request):
        return HttpResponse("sorry", status=500)

urlpatterns = [path("orders/<int:number>", raised), path("hidden", hidden), path("hiding", Hiding.as_view())]
if __name__ == "__main__":
    sys.modules["shop"] = sys.modules["__main__"]
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""


def test_what_a_django_program_answers_by_itself_has_the_place_of_the_exception_or_of_the_view(host, free_port):
    host.write("shop.py", DJANGO)
    paths = ["/orders/7", "/hidden", "/hiding"]
    run = host.serve("shop.py", "runserver", "--noreload", str(free_port), paths=paths, port=free_port)
    assert run.answers == dict.fromkeys(paths, 500)
    lines = DJANGO.splitlines()
    seen = {(item["exception_type"], tuple(item["location"]), item["route"]) for item in run.occurrences()}
    assert seen == {
        (
            "KeyError",
            ("shop.py", 1 + lines.index('    return JsonResponse({"price": {}[number]})'), "raised"),
            "/orders/<int:number>",
        ),
        ("", ("shop.py", 1 + lines.index("@csrf_exempt"), "hidden"), "/hidden"),
        ("", ("shop.py", 1 + lines.index("    def get(self, request):"), "Hiding.get"), "/hiding"),
    }


def test_an_answer_that_aiohttps_handler_raises_has_the_place_where_it_was_raised(host, free_port):
    host.write(
        "shop.py",
        "from aiohttp import web\nimport sys\n"
        "async def order(request):\n    raise web.HTTPInternalServerError()\n"
        "app = web.Application()\n"
        "app.router.add_get('/orders', order)\n"
        "web.run_app(app, host='127.0.0.1', port=int(sys.argv[1]))\n",
    )
    run = host.serve("shop.py", str(free_port), paths=["/orders"], port=free_port)
    seen = [(item["exception_type"].rpartition(".")[2], tuple(item["location"])) for item in run.occurrences()]
    assert seen == [("HTTPInternalServerError", ("shop.py", 4, "order"))]


def test_printing_into_a_text_is_left_alone_outside_of_requests(captured):
    try:
        raise LookupError("x")
    except LookupError:
        traceback.print_exc(file=io.StringIO())
    assert captured.occurrences() == []
