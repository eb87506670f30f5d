"""The WSGI environ of an ASGI request (PEP 3333, with the bytes that the client really sent)."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

from gateway.exceptions import BadRequest
from gateway.legacy.files import FileWrapper

if TYPE_CHECKING:
    from starlette.types import Scope

MAX_CACHED_NAMES = 1024
MAX_CACHED_NAME_BYTES = 64
MAX_LENGTH_DIGITS = 19

_SAFE_IN_PATHS = "/!$&'()*+,;=:@~"  # RFC 3986, section 3.3: pchar, and the slash


def decoded_path(scope: Scope) -> tuple[str, str]:
    """Return the path as WSGI wants it (bytes as latin-1), and as a target for REQUEST_URI.

    Both come from `raw_path`, so that no byte is lost (PEP 3333, "Unicode Issues"); unless a
    wrapper rewrote `path`, which then wins.
    """
    path = scope["path"]
    raw = scope.get("raw_path")
    if raw:
        decoded = raw if b"%" not in raw else unquote_to_bytes(raw)
        if decoded.decode("utf-8", "replace") == path:
            return _origin_form(decoded.decode("latin-1")), raw.decode("latin-1")
    data = path.encode("utf-8", "surrogateescape")
    return _origin_form(data.decode("latin-1")), quote(data, safe=_SAFE_IN_PATHS)


def _origin_form(path: str) -> str:
    """Turn `http://host/path` into `/path` (absolute-form, RFC 9112, section 3.2.2)."""
    if path.startswith("/") or "://" not in path:
        return path
    return "/" + path.partition("://")[2].partition("/")[2]


def split_root(path: str, root: str) -> tuple[str, str]:
    """Return SCRIPT_NAME and PATH_INFO: `root` is taken off `path` by whole segments only.

    A root that the path doesn't start with was stripped by a proxy: it is SCRIPT_NAME all the
    same, for `url_for`.
    """
    if path == root:
        return root, ""
    if path.startswith(root) and path[len(root)] == "/":
        return root, path[len(root) :]
    return root, path


class EnvironBuilder:
    """Builds environs; `underscore_headers` accepts `X_Token`, which is spoofable as `X-Token`."""

    def __init__(self, *, underscore_headers: bool = False) -> None:
        self._underscores = underscore_headers
        self._keys: dict[bytes, str] = {}
        self._template: dict[str, Any] = {
            "SCRIPT_NAME": "",
            "SERVER_SOFTWARE": "gateway",
            "REMOTE_ADDR": "",  # of a Unix socket, as gunicorn has it
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            # The server ends the input where the body ends, chunked or not (Werkzeug, gunicorn).
            "wsgi.input_terminated": True,
        }

    def build(self, scope: Scope) -> dict[str, Any]:
        """Return a new environ with an empty `wsgi.input`.

        Raises BadRequest where the headers mean two things at once.
        """
        environ = self._template.copy()
        path, target = decoded_path(scope)
        root = scope.get("root_path", "")
        if root:
            script = root.rstrip("/").encode("utf-8", "surrogateescape").decode("latin-1")
            environ["SCRIPT_NAME"], path = split_root(path, script)
        query = scope.get("query_string", b"").decode("latin-1")
        if query:
            target = f"{target}?{query}"
        environ["asgi.scope"] = scope
        environ["REQUEST_METHOD"] = scope["method"]
        environ["PATH_INFO"] = path
        environ["QUERY_STRING"] = query
        environ["RAW_URI"] = environ["REQUEST_URI"] = target
        environ["SERVER_PROTOCOL"] = "HTTP/" + scope["http_version"]
        environ["wsgi.url_scheme"] = scheme = scope.get("scheme", "http")
        environ["wsgi.input"] = io.BytesIO()
        # Not our logger: Flask's documented logging writes to this stream, which would recurse.
        environ["wsgi.errors"] = sys.stderr
        name, port = scope.get("server") or ("localhost", None)
        if port is None:  # a Unix socket; PEP 3333 wants both keys, never empty
            name, port = "localhost", 443 if scheme == "https" else 80
        environ["SERVER_NAME"] = name
        environ["SERVER_PORT"] = str(port)
        client = scope.get("client")
        if client:
            environ["REMOTE_ADDR"] = client[0]
            environ["REMOTE_PORT"] = str(client[1])
        self._add_headers(environ, scope)
        if root and "HTTP_X_FORWARDED_PREFIX" in environ:
            _compose_prefix(environ)
        return environ

    def _add_headers(self, environ: dict[str, Any], scope: Scope) -> None:
        keys = self._keys
        for name, value in scope["headers"]:
            key = keys.get(name)
            if key is None:
                key = self._key(name)
            if not key:
                continue
            text = value.decode("latin-1")
            if key in environ:
                text = _joined(key, environ[key], text)
            environ[key] = text
        if "CONTENT_LENGTH" in environ:
            _check_length(environ)

    def _key(self, name: bytes) -> str:
        """Return the environ key of a header, or "" for a header that is dropped."""
        if b"_" in name and not self._underscores:
            key = ""
        else:
            key = name.decode("latin-1").upper().replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = f"HTTP_{key}"
        if len(self._keys) < MAX_CACHED_NAMES and len(name) <= MAX_CACHED_NAME_BYTES:
            self._keys[name] = key
        return key


def _joined(key: str, first: str, second: str) -> str:
    if key == "HTTP_COOKIE":
        return f"{first}; {second}"  # RFC 9113, section 8.2.3
    if key == "CONTENT_LENGTH" and first == second:
        return first  # RFC 9110, section 8.6 allows equal ones
    if key in ("CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_HOST"):
        name = key.removeprefix("HTTP_").replace("_", "-").title()
        message = f"more than one {name} header"
        raise BadRequest(message)
    return f"{first},{second}"  # RFC 9110, section 5.3


def _check_length(environ: dict[str, Any]) -> None:
    length = environ["CONTENT_LENGTH"]
    if not (length.isascii() and length.isdigit() and len(length) < MAX_LENGTH_DIGITS):
        message = "Content-Length is no number"
        raise BadRequest(message)
    if "HTTP_TRANSFER_ENCODING" in environ:
        message = "both Content-Length and Transfer-Encoding"  # RFC 9112, section 6.1: smuggling
        raise BadRequest(message)


def _compose_prefix(environ: dict[str, Any]) -> None:
    """Let ProxyFix end at "outer prefix + our root".

    ProxyFix replaces SCRIPT_NAME by X-Forwarded-Prefix, which would lose the root we are mounted
    at. Where the proxy already names that root, nothing is added.
    """
    root = environ["SCRIPT_NAME"]
    prefixes = [part.strip() for part in environ["HTTP_X_FORWARDED_PREFIX"].split(",")]
    environ["HTTP_X_FORWARDED_PREFIX"] = ",".join(
        part if not part or part.rstrip("/").endswith(root) else part.rstrip("/") + root
        for part in prefixes
    )
