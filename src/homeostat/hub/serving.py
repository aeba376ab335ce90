"""Serving one hub over HTTP until it is told to stop."""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn

from homeostat.adapters.process_start import process_started
from homeostat.core.errors import Unavailable
from homeostat.core.limits import MAX_HTTP_CONNECTIONS, MAX_HTTP_HEAD_BYTES
from homeostat.flows.deps import Deps
from homeostat.hub.app import create_app
from homeostat.hub.http_guard import GuardedProtocol
from homeostat.hub.wiring import Hub, log_reload
from homeostat.model.reload import ReloadReport
from homeostat.model.settings import Settings

_BACKLOG = 128


class HubServer:
    """One hub and its HTTP server. `run` blocks; `stop` may be called from any thread or signal.

    `wrap` and `tell` are handed on to `Hub`.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        repository: Path,
        state_dir: Path,
        wrap: Callable[[Deps], Deps] = lambda deps: deps,
        tell: Callable[[ReloadReport], None] = log_reload,
    ) -> None:
        self._socket = _listen(settings.hub.bind, settings.hub.port)
        try:
            self._hub = Hub(settings=settings, repository=repository, state_dir=state_dir, wrap=wrap, tell=tell)
        except BaseException:
            self._socket.close()
            raise
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._hub_file = state_dir / "run" / "hub.json"
        config = uvicorn.Config(
            create_app(self._hub.context),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            http=GuardedProtocol,
            ws="none",
            h11_max_incomplete_event_size=MAX_HTTP_HEAD_BYTES,
            limit_concurrency=MAX_HTTP_CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
        self._server = _Server(config)

    def run(self, on_ready: Callable[[], None]) -> None:
        """Serve until stopped; `on_ready` is called once, when requests are answered.

        `Unavailable` (``state-dir-unusable``) when nobody can be told where it serves. It is closed in any case.
        """
        watcher = threading.Thread(target=self._announce, args=(on_ready,), name="hub-ready", daemon=True)
        try:
            self._write_hub_file()
            watcher.start()
            self._server.run(sockets=[self._socket])
        finally:
            self._hub_file.unlink(missing_ok=True)
            self._hub.close()
            self._socket.close()

    def stop(self) -> None:
        """Ask the server to finish what it has begun and return from `run`."""
        self._server.should_exit = True

    def _announce(self, on_ready: Callable[[], None]) -> None:
        pause = threading.Event()
        while not self._server.started and not self._server.should_exit:
            pause.wait(0.01)
        if self._server.started:
            on_ready()

    def _write_hub_file(self) -> None:
        deps = self._hub.context.deps
        facts = {
            "url": self.url,
            "pid": os.getpid(),
            "started": process_started(os.getpid()),
            "agent_socket": str(self._hub.agent_socket),
            "repository": deps.repository_path,
            "hmr_enabled": deps.settings.hmr.enabled,
            "hmr_mode": deps.settings.hmr.mode.value,
        }
        part = self._hub_file.with_suffix(".part")
        try:
            part.write_text(json.dumps(facts))
            part.replace(self._hub_file)
        except OSError as error:
            raise Unavailable(
                "state-dir-unusable",
                f"the hub's address cannot be written to {self._hub_file}: {error.strerror}",
                hint="check the permissions of the state directory and the free space of its disk",
            ) from error


class _Server(uvicorn.Server):
    """uvicorn that looks twice a second, not ten times, whether it is told to stop; it does nothing else there."""

    async def main_loop(self) -> None:
        count = 0  # tenths of a second: at each ten the date in the headers is renewed
        while not await self.on_tick(count):
            count = (count + 5) % 10
            await asyncio.sleep(0.5)


def _listen(bind: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((bind, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise Unavailable(
            "port-taken",
            f"cannot listen on {bind}:{port}: {error.strerror}",
            hint="stop what listens there, or choose another port: `homeostat up --port 0` takes a free one",
        ) from error
    listener.set_inheritable(False)
    return listener
