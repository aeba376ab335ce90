"""Route labels: templates where a framework knows them, masked paths where nobody does."""

import asyncio
import logging
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from homeostat_agent.capture.asgi import AsgiApp
from homeostat_agent.capture.routes import UNMATCHED, asgi_route, masked, wsgi_route
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route
from starlette.staticfiles import StaticFiles


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("", "/"),
        ("/orders", "/orders"),
        ("/orders/", "/orders/"),
        ("/orders/42", "/orders/{id}"),
        ("/orders/42/items/7", "/orders/{id}/items/{id}"),
        ("/v1/oauth2/token", "/v1/oauth2/token"),
        ("/v1.2/x", "/v1.2/x"),
        ("/u/3f2504e0-4f89-41d3-9a0c-0305e82c3301", "/u/{id}"),
        ("/reset/q7Zp2mXv9Lk4Rt8Wb3Ny6Hd1", "/reset/{id}"),
        ("/reset/" + "a" * 60, "/reset/{id}"),
        ("/users/ann@customer.example", "/users/{id}"),
        ("/f/../../etc/passwd", "/f/{id}/{id}/etc/passwd"),
        ("/a b/ä/\n", "/{id}/{id}/{id}"),
        ("/x?token=secret", "/x"),
        ("/4111111111111111", "/{id}"),
        ("/" + "/".join("a" * 30 for _ in range(50)), "/" + "/".join("a" * 30 for _ in range(6)) + "/" + "a" * 13),
    ],
)
def test_variable_parts_of_a_path_are_masked(path, expected):
    assert masked(path) == expected


async def endpoint(request: Any) -> PlainTextResponse:
    return PlainTextResponse(",".join(f"{key}={value}" for key, value in request.path_params.items()))


def fastapi_app() -> FastAPI:
    app = FastAPI()
    deepest = APIRouter(prefix="/deepest")
    inner = APIRouter(prefix="/inner")
    outer = APIRouter(prefix="/outer/{region}")

    @deepest.get("/things/{thing}")
    def thing(region: str, thing: str) -> str:
        return thing

    @app.get("/files/{name:path}")
    def file(name: str) -> str:
        return name

    @app.get("/plain")
    async def plain() -> str:
        return "x"

    inner.include_router(deepest)
    outer.include_router(inner)
    app.include_router(outer)
    app.include_router(outer, prefix="/again")
    mounted = FastAPI()

    @mounted.get("/users/{user}")
    def user(user: str) -> str:
        return user

    app.mount("/sub", mounted)
    app.mount("/tenants/{tenant}", mounted)
    app.mount("/starlette", Starlette(routes=[Route("/hello/{name:int}", endpoint)]))
    app.add_route("/bare/{z}", endpoint)
    return app


def starlette_app(folder: str) -> Starlette:
    return Starlette(
        routes=[
            Route("/items/{item:int}", endpoint, methods=["GET"]),
            Mount("/api", routes=[Route("/items/{item}", endpoint), Mount("/v2", routes=[Route("/{x}", endpoint)])]),
            Mount("/static", app=StaticFiles(directory=folder)),
            Host("{sub}.example", app=Starlette(routes=[Route("/host/{x}", endpoint)])),
        ]
    )


async def ask(app: Any, path: str, *, root_path: str = "", method: str = "GET", host: str = "x") -> dict[str, Any]:
    """Return the scope as an application leaves it, with the status that it answered."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": root_path + path,
        "raw_path": (root_path + path).encode(),
        "root_path": root_path,
        "scheme": "http",
        "query_string": b"token=secret",
        "headers": [(b"host", host.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }

    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # a client that stays
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            scope["answered"] = message["status"]

    await app(scope, receive, send)
    return scope


def label(app: Any, path: str, **how: Any) -> str:
    scope = asyncio.run(ask(app, path, **how))
    return asgi_route(scope, scope["answered"])


@pytest.mark.parametrize("root_path", ["", "/behind/proxy"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/plain", "/plain"),
        ("/files/a/b/c", "/files/{name}"),
        ("/outer/eu/inner/deepest/things/7", "/outer/{region}/inner/deepest/things/{thing}"),
        ("/again/outer/eu/inner/deepest/things/7", "/again/outer/{region}/inner/deepest/things/{thing}"),
        ("/sub/users/ann", "/sub/users/{user}"),
        ("/tenants/acme/users/ann", "/tenants/{tenant}/users/{user}"),
        ("/tenants/acme/users/acme", "/tenants/{tenant}/users/{user}"),
        ("/tenants/acme/nothing/5", "/tenants/{tenant}/{path}"),
        ("/starlette/hello/4", "/starlette/hello/{name}"),
        ("/bare/4", "/bare/{z}"),
        ("/openapi.json", "/openapi.json"),
        ("/wp-admin/setup.php", UNMATCHED),
        ("/plain/", UNMATCHED),
    ],
)
def test_fastapi_routes_with_routers_and_mounts(path, expected, root_path):
    assert label(fastapi_app(), path, root_path=root_path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/items/4", "/items/{item}"),
        ("/items/x", UNMATCHED),
        ("/api/items/4", "/api/items/{item}"),
        ("/api/v2/4", "/api/v2/{x}"),
        ("/api/none", "/api/{path}"),
        ("/static/app.js", "/static/{path}"),
        ("/static/missing.js", "/static/{path}"),
    ],
)
def test_starlette_routes_with_mounts_and_files(path, expected, tmp_path):
    (tmp_path / "app.js").write_text("1")
    app = starlette_app(str(tmp_path))
    assert label(app, path) == expected


def test_a_method_that_is_not_allowed_belongs_to_its_route(tmp_path):
    assert label(starlette_app(str(tmp_path)), "/items/4", method="POST") == "/items/{item}"
    assert label(fastapi_app(), "/sub/users/ann", method="POST") == "/sub/users/{user}"


def test_a_route_below_a_host_is_known(tmp_path):
    assert label(starlette_app(str(tmp_path)), "/host/4", host="a.example") == "/host/{x}"


def test_an_application_without_a_router_is_masked_and_its_404_is_not():
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        status = 404 if scope["path"].startswith("/missing") else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    assert label(app, "/orders/42") == "/orders/{id}"
    assert label(app, "/missing/42") == UNMATCHED


def test_a_template_in_the_scope_is_taken():
    assert asgi_route({"path": "/x/1", "path_template": "/x/{n}"}, 200) == "/x/{n}"


@pytest.mark.parametrize(
    ("environ", "status", "expected"),
    [
        ({"PATH_INFO": "/orders/42"}, 200, "/orders/{id}"),
        ({"PATH_INFO": "/orders/42"}, 404, UNMATCHED),
        ({}, 200, "/"),
        ({"PATH_INFO": "/o/1", "bottle.route": type("R", (), {"rule": "/o/<n>"})()}, 200, "/o/<n>"),
        ({"PATH_INFO": "/o/1", "werkzeug.request": None}, 200, "/o/{id}"),
    ],
)
def test_wsgi_routes(environ, status, expected):
    assert wsgi_route(environ, status) == expected


def test_a_record_has_the_route_of_the_request_that_wrote_it(captured):
    """In the handler, in a thread that Starlette runs it in, and in a task that it started and waited for."""
    log = logging.Logger("shop")
    log.addHandler(logging.NullHandler())
    app = FastAPI()

    @app.get("/sync/{x}")
    def in_thread(x: int) -> int:
        log.warning("sync")
        return x

    @app.get("/task/{x}")
    async def in_task(x: int) -> int:
        async def work() -> None:
            log.warning("task")

        await asyncio.create_task(work())
        return x

    @app.get("/quiet/{x}")
    async def quiet(x: int) -> int:
        return x

    capture = captured.capture
    ours = AsgiApp(app, traffic=capture._traffic, lag=capture._lag, failures=capture.failures)

    async def main() -> None:
        for path in ("/sync/1", "/task/2", "/quiet/3"):
            await ask(ours, path)
        log.warning("between requests")

    asyncio.run(main())
    assert [(item.message, item.route) for item in captured.occurrences()] == [
        ("sync", "/sync/{x}"),
        ("task", "/task/{x}"),
        ("between requests", ""),
    ]
    assert set(capture.vitals()["requests"]) == {("/sync/{x}", ""), ("/task/{x}", ""), ("/quiet/{x}", "")}
