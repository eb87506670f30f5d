"""The environ, where a2wsgi's `build_environ` was measured wrong (A7-A11) and where right."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote_from_bytes, unquote

import pytest
from flask import Flask, request, url_for
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway.exceptions import BadRequest
from gateway.legacy.environ import MAX_CACHED_NAMES, EnvironBuilder
from tests.unit.legacy.conftest import make_scope


def build(*, underscore_headers: bool = False, **scope: Any) -> dict[str, Any]:
    return EnvironBuilder(underscore_headers=underscore_headers).build(make_scope(**scope))


def test_the_case_of_a2wsgis_own_tests() -> None:
    scope = make_scope(
        scheme="https",
        path="/中文",
        raw_path=None,
        query_string=b"a=123&b=456",
        headers=[
            (b"host", b"www.example.org"),
            (b"content-type", b"application/json"),
            (b"content-length", b"18"),
            (b"accept", b"application/json"),
            (b"accept", b"text/plain"),
        ],
        client=("134.56.78.4", 1453),
        server=("www.example.org", 443),
    )
    environ = EnvironBuilder().build(scope)
    assert environ.pop("wsgi.input").read() == b""
    assert environ.pop("asgi.scope") is scope
    environ.pop("wsgi.file_wrapper")
    target = "/%E4%B8%AD%E6%96%87?a=123&b=456"
    assert environ == {
        "CONTENT_LENGTH": "18",
        "CONTENT_TYPE": "application/json",
        "HTTP_ACCEPT": "application/json,text/plain",
        "HTTP_HOST": "www.example.org",
        "PATH_INFO": "/中文".encode().decode("latin-1"),
        "QUERY_STRING": "a=123&b=456",
        "RAW_URI": target,
        "REMOTE_ADDR": "134.56.78.4",
        "REMOTE_PORT": "1453",
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": target,
        "SERVER_SOFTWARE": "gateway",
        "SCRIPT_NAME": "",
        "SERVER_NAME": "www.example.org",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,
        "wsgi.multiprocess": True,
        "wsgi.multithread": True,
        "wsgi.run_once": False,
        "wsgi.url_scheme": "https",
        "wsgi.version": (1, 0),
    }


@given(st.binary(max_size=40).map(lambda data: b"/" + data))
def test_path_info_keeps_every_byte_of_raw_path(path: bytes) -> None:
    """a2wsgi takes the decoded path, in which invalid UTF-8 is lost."""
    raw = quote_from_bytes(path).encode()
    environ = build(path=unquote(raw.decode()), raw_path=raw)
    assert environ["PATH_INFO"].encode("latin-1") == path
    assert environ["REQUEST_URI"] == raw.decode()


def test_a_rewritten_path_beats_raw_path() -> None:
    environ = build(path="/b c", raw_path=b"/a%2Fb", query_string=b"q=1")
    assert environ["PATH_INFO"] == "/b c"
    assert environ["REQUEST_URI"] == environ["RAW_URI"] == "/b%20c?q=1"


def test_an_absolute_target_is_read_as_its_path() -> None:
    environ = build(path="http://example.org/a/b", raw_path=b"http://example.org/a/b")
    assert environ["PATH_INFO"] == "/a/b"


@pytest.mark.parametrize(
    ("root", "path", "script_name", "path_info"),
    [
        ("", "/x", "", "/x"),
        ("/", "/x", "", "/x"),
        ("/api", "/api/x", "/api", "/x"),
        ("/api/", "/api/x", "/api", "/x"),
        ("/api", "/api", "/api", ""),
        ("/api", "/api/", "/api", "/"),
        ("/api", "/apiary/x", "/api", "/apiary/x"),
        ("/api", "/x", "/api", "/x"),
        ("/é", "/é/x", "/Ã©", "/x"),
    ],
)
def test_the_root_is_taken_off_by_segment(
    root: str, path: str, script_name: str, path_info: str
) -> None:
    """a2wsgi turns `/apiary/x` under `/api` into `ary/x`."""
    environ = build(root_path=root, path=path, raw_path=None)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)


@pytest.mark.parametrize(
    ("forwarded", "url"),
    [("/outer", "/outer/api/x"), ("/api", "/api/x"), ("/outer/api", "/outer/api/x")],
)
def test_a_forwarded_prefix_and_the_root_compose(forwarded: str, url: str) -> None:
    """ProxyFix overwrites SCRIPT_NAME; the mount's own prefix was lost (airflow#70797)."""
    app = Flask(__name__)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]

    @app.get("/x")
    def x() -> str:
        assert request.path == "/x"
        return url_for("x")

    environ = build(
        root_path="/api",
        path="/api/x",
        raw_path=b"/api/x",
        headers=[(b"x-forwarded-prefix", forwarded.encode()), (b"host", b"h")],
    )
    answer: Any = app
    assert b"".join(answer(environ, lambda *_: None)) == url.encode()


def test_underscore_headers_are_dropped() -> None:
    """`X_Token` and `X-Token` both become HTTP_X_TOKEN: a2wsgi joins them, so it can be spoofed."""
    headers = [(b"x-token", b"real"), (b"x_token", b"spoofed"), (b"x_forwarded_for", b"1.2.3.4")]
    environ = build(headers=headers)
    assert environ["HTTP_X_TOKEN"] == "real"
    assert "HTTP_X_FORWARDED_FOR" not in environ
    allowed = build(headers=headers, underscore_headers=True)
    assert allowed["HTTP_X_TOKEN"] == "real,spoofed"


def test_cookie_lines_are_joined_by_semicolons() -> None:
    """a2wsgi joins them by a comma, which becomes part of a cookie's value."""
    assert build(headers=[(b"cookie", b"a=1"), (b"cookie", b"b=2")])["HTTP_COOKIE"] == "a=1; b=2"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-type", b"a/b"), (b"content-type", b"c/d")],
        [(b"content-length", b"1"), (b"content-length", b"2")],
        [(b"content-length", b"-1")],
        [(b"content-length", b"1e3")],
        [(b"content-length", b"9" * 30)],
        [(b"content-length", b"3"), (b"transfer-encoding", b"chunked")],
        [(b"host", b"a"), (b"host", b"b")],
    ],
)
def test_ambiguous_headers_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    """a2wsgi hands the app `a/b,c/d`."""
    with pytest.raises(BadRequest):
        build(headers=headers)


def test_equal_content_lengths_count_once() -> None:
    headers = [(b"content-length", b"3"), (b"content-length", b"3")]
    assert build(headers=headers)["CONTENT_LENGTH"] == "3"


@pytest.mark.parametrize(
    ("server", "scheme", "expected"),
    [
        (None, "http", ("localhost", "80")),
        (("/run/app.sock", None), "https", ("localhost", "443")),
        (("::1", 8000), "http", ("::1", "8000")),
    ],
)
def test_server_name_and_port_are_never_empty(
    server: Any, scheme: str, expected: tuple[str, str]
) -> None:
    environ = build(server=server, scheme=scheme)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == expected


def test_the_cache_of_header_names_is_bounded() -> None:
    builder = EnvironBuilder()
    for number in range(MAX_CACHED_NAMES + 100):
        builder.build(make_scope(headers=[(b"x-%d" % number, b"v")]))
    assert len(builder._keys) == MAX_CACHED_NAMES


def test_requests_share_nothing_of_the_template() -> None:
    builder = EnvironBuilder()
    builder.build(make_scope())["HTTP_LEAK"] = "x"
    assert "HTTP_LEAK" not in builder.build(make_scope())


@pytest.mark.parametrize("client", [None, ("", 0)])
def test_a_unix_socket_has_an_empty_remote_address(client: Any) -> None:
    """As under gunicorn: many apps read `environ["REMOTE_ADDR"]`."""
    environ = EnvironBuilder().build(make_scope(client=client))
    assert environ["REMOTE_ADDR"] == ""
