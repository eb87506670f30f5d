"""Commands that serve: serve, demo."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any

import typer
import uvicorn
from uvicorn.config import LOGGING_CONFIG

from gateway.app import Gateway
from gateway.cli.output import ConfigArgument, ConfigOption, chosen, fail, one_config
from gateway.exceptions import ConfigError
from gateway.loading import load
from gateway.secrecy import target_without_secrets

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command(epilog="Example: gateway serve config/gateway.yaml --workers 4")(serve)
    app.command(epilog="Example: gateway demo --port 8000")(demo)


def serve(
    file: ConfigArgument = None,
    config: ConfigOption = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    proxy_headers: Annotated[
        bool,
        typer.Option(
            "--proxy-headers/--no-proxy-headers",
            help="Believe X-Forwarded-For and -Proto of the peers in --forwarded-allow-ips.",
        ),
    ] = False,
    forwarded_allow_ips: Annotated[
        str, typer.Option(help="Addresses or networks to believe, by commas. Default: nobody.")
    ] = "",
    root_path: Annotated[str, typer.Option(help="Path that a proxy in front strips.")] = "",
    graceful_timeout: Annotated[
        int, typer.Option(min=1, help="Seconds that requests in flight may take at shutdown.")
    ] = 30,
    drain_delay: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds between a stop signal and the end of listening: /-/ready says 503 "
            "meanwhile, so that traffic is led elsewhere first. One worker only.",
        ),
    ] = 0,
    access_log: Annotated[
        bool, typer.Option("--access-log/--no-access-log", help="Log every request.")
    ] = True,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Refuse to start where `gateway check` finds something against a move. Without it "
            "legacy serves such a route.",
        ),
    ] = False,
    only_legacy: Annotated[
        bool,
        typer.Option(
            "--only-legacy",
            help="Serve the legacy app alone, as it is: no native app, no rules, no checks. The "
            "way out of an incident.",
        ),
    ] = False,
) -> None:
    """Serve both apps by uvicorn. A wrong configuration never serves."""
    if strict and only_legacy:
        fail("--only-legacy checks nothing, so that --strict has no meaning with it")
    path = chosen(one_config(file, config))
    if only_legacy:
        gateway = Gateway(config=load(path, only_legacy=True), verify_lock=False)
        _warn_of_guards(path)
    else:
        gateway = Gateway(config=path, strict=strict)
    listener = _bind(host, port)
    settings: dict[str, Any] = {
        "lifespan": "on",
        "proxy_headers": proxy_headers,
        "forwarded_allow_ips": forwarded_allow_ips,
        "root_path": root_path,
        "timeout_graceful_shutdown": graceful_timeout,
        "access_log": access_log,
        "log_config": _LOGGING,
    }
    if workers == 1:
        server = _Server(
            uvicorn.Config(gateway, host=host, port=port, **settings), gateway, drain_delay
        )
        server.run(sockets=[listener])
        if not server.started:
            sys.exit(2)
        return
    if drain_delay:
        fail("--drain-delay works with one worker; in front of several, let a preStop hook wait")
    if "timeout_worker_healthcheck" in signature(uvicorn.Config).parameters:
        # uvicorn ends a worker that says nothing for 5 s, and large apps import for longer.
        settings["timeout_worker_healthcheck"] = _START_SECONDS
    # Each worker imports the apps by itself, so the listener is theirs to open.
    listener.close()
    os.environ["GATEWAY_CONFIG"] = str(path.resolve())
    os.environ["GATEWAY_STRICT"] = str(int(strict))
    os.environ["GATEWAY_ONLY_LEGACY"] = str(int(only_legacy))
    uvicorn.run("gateway.asgi:app", host=host, port=port, workers=workers, **settings)


def _warn_of_guards(path: Path) -> None:
    """Say whom the shared guard doesn't ask any more, as far as the file can be read."""
    try:
        config = load(path).config
    except ConfigError:
        return
    shared = [rule.name for rule in config.routes if rule.auth == "shared"]
    if shared or config.defaults.auth == "shared":
        sys.stderr.write(
            "--only-legacy: the shared guard (auth.dependency) does not run; only Flask's own "
            "guards do\n"
        )


#: How long a worker may say nothing to the process above it.
_START_SECONDS = 60


class Unheard(logging.Filter):
    """Lets a record through only where the apps have set up no logging that would show it."""

    def filter(self, _: logging.LogRecord) -> bool:
        """Tell whether nobody else would write it."""
        return not logging.getLogger().handlers


#: What uvicorn's AccessFormatter takes: address, method, target, version, status.
_ACCESS_ARGS = 5


class WithoutSecrets(logging.Filter):
    """Lets uvicorn's line about a request through, its path and query without secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Hide them in the target."""
        if isinstance(record.args, tuple) and len(record.args) == _ACCESS_ARGS:
            address, method, target, *rest = record.args
            record.args = (address, method, target_without_secrets(str(target)), *rest)
        return True


#: uvicorn's own, and in the same form what the gateway has to say: reloads, overrides, failures.
_LOGGING: dict[str, Any] = {
    **LOGGING_CONFIG,
    "filters": {
        "unheard": {"()": "gateway.cli.serve.Unheard"},
        "tracebacks": {"()": "gateway.logs.Tracebacks"},
        "secrets": {"()": "gateway.cli.serve.WithoutSecrets"},
    },
    "handlers": {
        "default": {**LOGGING_CONFIG["handlers"]["default"], "filters": ["tracebacks"]},
        "access": {**LOGGING_CONFIG["handlers"]["access"], "filters": ["secrets"]},
        "gateway": {**LOGGING_CONFIG["handlers"]["default"], "filters": ["unheard"]},
    },
    "loggers": {
        **LOGGING_CONFIG["loggers"],
        "gateway": {"handlers": ["gateway"], "level": "INFO"},
    },
}


class _Server(uvicorn.Server):
    """Says that it isn't ready any more, and goes on listening for `delay` seconds."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway, delay: float) -> None:
        super().__init__(config)
        self._gateway, self._delay = gateway, delay

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a stop signal; a second one ends the wait."""
        delay, self._delay = self._delay, 0.0
        if not delay:
            super().handle_exit(sig, frame)
            return
        self._gateway.leave()
        timer = threading.Timer(delay, super().handle_exit, (sig, frame))
        timer.daemon = True
        timer.start()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        fail(f"can't listen on {host}:{port}: {error.strerror} (choose another --port)")
    listener.set_inheritable(True)
    return listener


def demo(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    file: ConfigArgument = None,
    config: ConfigOption = None,
    traffic: Annotated[
        bool, typer.Option("--traffic/--no-traffic", help="Send a little traffic to it.")
    ] = True,
    seconds: Annotated[
        float, typer.Option(min=0, help="Stop by itself after so many seconds; 0: never.")
    ] = 0,
    story: Annotated[
        bool, typer.Option("--story", help="Play one route's move in the terminal, then stop.")
    ] = False,
) -> None:
    """Serve the demo: a Flask shop and its FastAPI successor, and show who serves what."""
    config = one_config(file, config)
    if story and (config is not None or seconds or not traffic):
        fail("--story brings its own config and traffic, and ends by itself: leave those out")
    try:
        from gateway.cli.demo import run_demo  # noqa: PLC0415 - needs the `demo` extra
        from gateway.cli.story import tell_story  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        fail(f"the demo needs {error.name} (pip install 'gateway[demo]')")
    listener = _bind(host, port)
    if story:
        tell_story(listener)
        return
    try:
        run_demo(listener, config, traffic=traffic, seconds=seconds)
    except ConfigError:
        listener.close()
        raise
