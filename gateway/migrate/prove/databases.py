"""Which databases do the apps use? Told before anything is asked, and held to the fence."""

from __future__ import annotations

import gc
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask

from gateway.migrate.prove import drivers
from gateway.secrecy import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gateway.migrate.prove.fence import Fence

_KEY = re.compile(r"(?:_|^)(?:URL|URI|DSN)$", re.IGNORECASE)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
#: Names of what is no database.
_OTHER = frozenset({"http", "https", "ws", "wss"})


def found(legacy: object, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the URLs of the databases that can be found, by where they stand.

    These are Flask's config, the environment, and every SQLAlchemy engine that exists.
    """
    urls: dict[str, str] = {}
    if isinstance(legacy, Flask):
        for key, value in legacy.config.items():
            if key == "SQLALCHEMY_BINDS" and isinstance(value, dict):
                for name, bind in value.items():
                    url = bind.get("url", "") if isinstance(bind, dict) else bind
                    urls[f"{key}[{name}] of the Flask app"] = _plain(url)
            elif _KEY.search(str(key)) and _is_database(_plain(value)):
                urls[f"{key} of the Flask app"] = _plain(value)
    for name, text in environ.items():
        if _KEY.search(name) and _is_database(text):
            urls[f"{name} of the environment"] = text
    for engine in _engines():
        url = _plain(engine.url)
        if url not in urls.values():
            urls.setdefault(f"an engine of SQLAlchemy ({_shown(url)})", url)
    return urls


def shown(urls: Mapping[str, str]) -> list[str]:
    """Write the URLs for people, without their passwords."""
    return [f"{_shown(url)}  ({where})" for where, url in urls.items()]


def outside(urls: Mapping[str, str], fence: Fence) -> list[str]:
    """Return where a URL stands whose host isn't this machine, nor allowed."""
    return [
        f"{where} names {host}"
        for where, url in urls.items()
        if (host := _host(url)) and not fence.admits(host)
    ]


@contextmanager
def watching(fence: Fence, opened: Callable[[str], None]) -> Iterator[None]:
    """Hear of every database that SQLAlchemy is about to connect to, and hold it to the fence.

    `opened` is given its URL without the password. psycopg's own connections are held as well.
    """
    with drivers.watched(fence):
        sqlalchemy = sys.modules.get("sqlalchemy")
        if sqlalchemy is None:
            yield
            return
        with _heard(sqlalchemy, fence, opened):
            yield


@contextmanager
def _heard(sqlalchemy: Any, fence: Fence, opened: Callable[[str], None]) -> Iterator[None]:

    def connecting(dialect: Any, _: Any, __: Any, parameters: Mapping[str, Any]) -> None:
        host = parameters.get("host") or parameters.get("server") or ""
        if isinstance(host, str) and not host.startswith("/"):
            for each in filter(None, host.split(",")):
                if not fence.admits(each):
                    raise fence.block(f"{dialect.name}://{each}")
        if dialect.name != "sqlite":  # whose files the fence hears of
            opened(_shown(f"{dialect.name}://{host}/{parameters.get('database', '')}"))

    event, engine = sqlalchemy.event, sqlalchemy.engine.Engine
    event.listen(engine, "do_connect", connecting)
    try:
        yield
    finally:
        event.remove(engine, "do_connect", connecting)


def _engines() -> list[Any]:
    sqlalchemy = sys.modules.get("sqlalchemy.engine")
    if sqlalchemy is None:
        return []
    kind = sqlalchemy.Engine
    gc.collect()
    return [each for each in gc.get_objects() if type(each) is kind]


def _plain(url: Any) -> str:
    """Return a URL as text; SQLAlchemy's own hide the password when they are written."""
    return str(url)


def _is_database(url: str) -> bool:
    scheme = url.partition("://")[0].lower()
    return _URL.match(url) is not None and scheme not in _OTHER


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _shown(url: str) -> str:
    return without_secrets(url)
