"""The requests of httpbin's own public test suite that go to the routes written natively.

Its `test_httpbin.py` (postmanlabs/httpbin, psf/httpbin) asks by Werkzeug's test client, which sends
`Content-Length: 0` with every request that has no body; so do these. What it asks of other routes
(digest, drip, range, etag, …) is in `httpbin_cases`: no second side can answer there.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tests.functional.httpbin_cases import BINARY, FORM, JSON, Case

if TYPE_CHECKING:
    from collections.abc import Iterator

_AGENT = ("User-Agent", "test")
_CURL = (("Accept", "*/*"), ("User-Agent", "curl/7.54.0"), ("Via", "bar"))
_GREETING = base64.urlsafe_b64encode("Здравствуй, мир!".encode()).decode()
_UNTYPED_FILE = (
    b'--bound\r\nContent-Disposition: form-data; name="media"; filename="test.bin"\r\n\r\n'
    b"\xa5\xc6\n--bound--\r\n"
)


def _asked(
    method: str, target: str, note: str, *headers: tuple[str, str], body: bytes = b""
) -> Case:
    return Case(method, target, f"upstream, {note}", headers, body)


def _public() -> Iterator[Case]:
    for method in ("GET", "POST"):
        yield _asked(method, "/response-headers?animal=dog", "simple")
        yield _asked(method, "/response-headers?animal=dog&animal=cat", "multi")
    yield _asked("GET", "/get", "agent", _AGENT)
    yield _asked("GET", "/get", "cors")
    yield _asked("GET", "/get", "cors with origin", ("Origin", "origin"))
    yield _asked("GET", "/get", "forwarded proto", ("X-Forwarded-Proto", "https"))
    yield _asked("OPTIONS", "/get", "cors")
    yield _asked("OPTIONS", "/get", "cors allow", ("Access-Control-Request-Headers", "X-Test"))
    yield _asked("GET", "/anything", "echo")
    yield _asked("GET", "/anything/foo/bar", "echo")
    yield _asked("GET", f"/base64/{_GREETING}", "greeting")
    yield _asked("POST", "/post", "binary", BINARY, body=b"\x01\x02\x03\x81\x82\x83")
    yield _asked("POST", "/post", "text", FORM, body=b"file=import+os%0A")
    yield _asked("POST", "/post", "binary form", FORM, body=b"file=%01%02%03%81%82%83")
    yield _asked("POST", "/post", "unicode", body="оживлённым".encode())
    bound = ("Content-Type", "multipart/form-data; boundary=bound")
    yield _asked("POST", "/post", "untyped file", bound, body=_UNTYPED_FILE)
    yield Case("POST", "/post", "upstream, chunked", (JSON,), chunks=(b'{"animal":"dog"}',))
    yield _asked("DELETE", "/delete", "form", FORM, body=b"name=kevin")
    yield _asked("GET", "/headers", "curl", *_CURL)
    yield _asked("GET", "/headers?show_env=true", "curl", *_CURL)
    yield _asked("GET", "/user-agent", "agent", _AGENT)
    yield _asked("GET", "/bearer", "token", ("Authorization", "Bearer abcd1234"))
    yield _asked("GET", "/bearer", "basic", ("Authorization", "Basic 1234abcd"))
    yield _asked("GET", "/bearer", "empty", ("Authorization", ""))
    yield _asked("GET", "/bearer", "none")
    yield _asked("GET", "/bearer", "no token", ("Authorization", "Bearer"))
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE"):
        yield _asked(method, "/status/418", "teapot")
    yield _asked("GET", "/status/4!9", "invalid")
    yield _asked("GET", "/status/200,402,foo", "invalid")
    yield _asked("GET", "/bytes/1024", "length")
    yield _asked("GET", "/bytes/10?seed=0", "seed")
    yield _asked("GET", "/xml", "type")
    for target in ("/redirect/5", "/redirect/5?absolute=true", "/redirect/1"):
        yield _asked("GET", target, "redirect")


PUBLIC = tuple(_public())
