"""The servers that are compared, and how each is started: one worker, shipped defaults, no log."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_APPS = "tests.benchmarks.apps"

Command = list[str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one peer may live: its port, a second one behind a proxy, and a folder of its own."""

    port: int
    inner: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Peer:
    """One server. `legacy` and `native` are the path prefixes it serves the apps under, or None.

    `needs` are distributions, `program` is an executable; without them the peer is skipped.
    """

    name: str
    title: str
    commands: Callable[[Place], list[Command]]
    legacy: str | None = None
    native: str | None = None
    needs: tuple[str, ...] = ()
    program: str | None = None

    def missing(self) -> str | None:
        """Name what isn't installed, or None where the peer can run."""
        for name in self.needs:
            try:
                version(name)
            except PackageNotFoundError:
                return name
        if self.program is not None and find_program(self.program) is None:
            return self.program
        return None


def find_program(name: str) -> str | None:
    """Return an executable's path: beside the interpreter, on PATH, or among the system's own."""
    beside = str(Path(sys.executable).parent)
    folders = [beside, os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(folders))


def _uvicorn(app: str, port: int) -> Command:
    command = [sys.executable, "-m", "uvicorn", f"{_APPS}.{app}", "--port", str(port)]
    return [*command, "--no-access-log", "--log-level", "warning"]


def _gunicorn(port: int) -> Command:
    command = [sys.executable, "-m", "gunicorn", f"{_APPS}.legacy:app", "--log-level", "warning"]
    return [*command, "-b", f"127.0.0.1:{port}", "-k", "gthread", "--threads", "8", "-w", "1"]


def _granian(interface: str, app: str, port: int) -> Command:
    command = [sys.executable, "-m", "granian", "--interface", interface, "--port", str(port)]
    return [*command, "--workers", "1", "--log-level", "warning", f"{_APPS}.{app}"]


def _pyvoy(port: int) -> Command:
    command = [find_program("pyvoy") or "pyvoy", f"{_APPS}.native:app", "--port", str(port)]
    return [*command, "--additional-mount", f"{_APPS}.legacy:app=/legacy=wsgi"]


#: Connections to the server behind are kept alive, which nginx does not do by itself: the cheaper
#: way for the proxy. No size limit, since the cases upload 200 MB.
_NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 768; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream behind {{ server 127.0.0.1:{inner}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://behind;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


def _nginx(place: Place) -> Command:
    config = place.folder / "nginx.conf"
    values = {"folder": place.folder, "port": place.port, "inner": place.inner}
    config.write_text(_NGINX.format(**values), encoding="utf-8")
    program = find_program("nginx") or "nginx"
    return [program, "-p", str(place.folder), "-e", "stderr", "-c", str(config)]


OURS = "ours"

PEERS: tuple[Peer, ...] = (
    Peer(
        OURS,
        "gateway (uvicorn)",
        lambda place: [_uvicorn("ours:app", place.port)],
        legacy="",
        native="",
        needs=("uvicorn", "flask", "fastapi"),
    ),
    Peer(
        "gunicorn",
        "gunicorn gthread, 8 threads",
        lambda place: [_gunicorn(place.port)],
        legacy="",
        needs=("gunicorn",),
    ),
    Peer(
        "a2wsgi",
        "FastAPI + a2wsgi mount (uvicorn)",
        lambda place: [_uvicorn("mounted:app", place.port)],
        legacy="/legacy",
        native="",
        needs=("a2wsgi", "fastapi"),
    ),
    Peer(
        "starlette",
        "Starlette WSGIMiddleware (uvicorn)",
        lambda place: [_uvicorn("starlette_adapter:app", place.port)],
        legacy="",
        needs=("starlette",),
    ),
    Peer(
        "asgiref",
        "asgiref WsgiToAsgi (uvicorn)",
        lambda place: [_uvicorn("asgiref_adapter:app", place.port)],
        legacy="",
        needs=("asgiref",),
    ),
    Peer(
        "granian-wsgi",
        "Granian WSGI",
        lambda place: [_granian("wsgi", "legacy:app", place.port)],
        legacy="",
        needs=("granian",),
    ),
    Peer(
        "granian-asgi",
        "FastAPI (Granian ASGI)",
        lambda place: [_granian("asgi", "native:app", place.port)],
        native="",
        needs=("granian",),
    ),
    Peer(
        "pyvoy",
        "pyvoy, FastAPI + WSGI mount",
        lambda place: [_pyvoy(place.port)],
        legacy="/legacy",
        native="",
        needs=("pyvoy",),
        program="pyvoy",
    ),
    Peer(
        "nginx-gunicorn",
        "nginx → gunicorn",
        lambda place: [_gunicorn(place.inner), _nginx(place)],
        legacy="",
        needs=("gunicorn",),
        program="nginx",
    ),
    Peer(
        "nginx-uvicorn",
        "nginx → FastAPI (uvicorn)",
        lambda place: [_uvicorn("native:app", place.inner), _nginx(place)],
        native="",
        needs=("uvicorn",),
        program="nginx",
    ),
    Peer(
        "fastapi",
        "bare FastAPI (uvicorn)",
        lambda place: [_uvicorn("native:app", place.port)],
        native="",
        needs=("uvicorn", "fastapi"),
    ),
)

BY_NAME = {peer.name: peer for peer in PEERS}
