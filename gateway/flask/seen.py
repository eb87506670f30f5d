"""What Flask's view would see of a request: what middleware and hooks have made of the sent one.

They may take a header away that callers must not set, give one that says who is calling, replace
the body, or change the arguments that the url gave. The native handler reads none of that from the
environ, so it is held against what was sent. `watched` knows what hooks replace in the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.inventory import Scope
    from gateway.legacy import Call

_INPUT = "wsgi.input"
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class Unreadable(Exception):
    """The view would read a body that can be read only once."""


def with_headers(scope: Scope, sent: Mapping[str, Any], environ: Mapping[str, Any]) -> Scope:
    """Return the scope with the headers as `environ` has them by now; the same if none changed.

    `sent` is the environ as it was made of the request.
    """
    changed = environ.keys() - sent.keys()
    if not sent.items() <= environ.items():
        changed |= sent.keys()
    changed = {key for key in changed if _is_header(key) and environ.get(key) != sent.get(key)}
    if not changed:
        return scope
    headers = [each for each in scope["headers"] if _key_of(each[0]) not in changed]
    for key in sorted(changed & environ.keys()):
        name = key.removeprefix("HTTP_").replace("_", "-").lower()
        headers.append((_bytes(name), _bytes(environ[key])))
    return {**scope, "headers": headers}


def _is_header(key: str) -> bool:
    return key.startswith("HTTP_") or key == "CONTENT_TYPE"


def _key_of(name: bytes) -> str:
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key == "CONTENT_TYPE" else f"HTTP_{key}"


def _bytes(value: object) -> bytes:
    """Write a native string of WSGI's (PEP 3333, "Unicode Issues")."""
    return str(value).encode("latin-1", "replace")


def replaced_body(call: Call, environ: Mapping[str, Any]) -> bytes | None:
    """Return the body that the view would read, where middleware has put another one in its place.

    Raises Unreadable where reading it would take it from the view.
    """
    stream = environ[_INPUT]
    if stream is call.sent[_INPUT]:
        return None
    seekable = getattr(stream, "seekable", None)
    try:
        if seekable is None or not seekable():
            if _is_empty(call):
                return None
            raise Unreadable
        position = stream.tell()
        stream.seek(0)
        data: bytes = stream.read()
        stream.seek(position)
    except (OSError, ValueError) as error:  # closed already
        raise Unreadable from error
    length = str(environ.get("CONTENT_LENGTH") or "")
    if environ.get("wsgi.input_terminated") or not length.isdecimal():
        return data  # all that Werkzeug gives the view (`get_input_stream`)
    return data[: int(length)]


def _is_empty(call: Call) -> bool:
    """Tell whether the request was sent without a body."""
    if call.body is not None:
        return not call.body.size
    return (
        call.sent["SERVER_PROTOCOL"].startswith("HTTP/1")
        and call.sent.get("CONTENT_LENGTH", "0") == "0"
        and "HTTP_TRANSFER_ENCODING" not in call.sent
    )


def with_length(scope: Scope, length: int) -> Scope:
    """Return the scope with the headers of a body of so many bytes."""
    headers = [each for each in scope["headers"] if each[0] not in _FRAMING]
    return {**scope, "headers": [*headers, (b"content-length", b"%d" % length)]}


def changed_arguments(matched: Mapping[str, Any], seen: Mapping[str, Any] | None) -> list[str]:
    """Name the arguments of a view that hooks have changed.

    Native reads them from the path, where the caller has chosen them. One that was taken out (as
    Flask's pattern for languages in urls does) or added is no other value of the path's.
    """
    if seen is None or seen is matched:
        return []
    return [name for name in matched if name in seen and not _same(matched[name], seen[name])]


def _same(one: object, other: object) -> bool:
    return one is other or (type(one) is type(other) and one == other)
