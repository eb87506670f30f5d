"""Real servers on loopback sockets, for tests that need the network."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

_PATIENCE = 30.0  # seconds; the machine may be busy


@contextlib.contextmanager
def serve(app: ASGIApp, **settings: Any) -> Iterator[str]:
    """Serve `app` by uvicorn in a thread; yield its base URL, `http://127.0.0.1:PORT`.

    The lifespan has run its startup when the URL is yielded, and its shutdown afterwards.
    `settings` go to uvicorn.Config. Raises RuntimeError where the app doesn't start.
    """
    defaults: dict[str, Any] = {
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": 10,
    }
    server = uvicorn.Server(uvicorn.Config(app, **(defaults | settings)))
    # The listener is ours, so that no other process can take the port in between.
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(_PATIENCE)
    if thread.is_alive():
        message = "the server did not stop"
        raise RuntimeError(message)


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            message = "the app did not start: see the log above"
            raise RuntimeError(message)
        time.sleep(0.005)
