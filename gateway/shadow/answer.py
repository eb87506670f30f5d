"""One side's answer to a request, and what of its headers counts."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import lru_cache

_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json")
_TEXT = re.compile(r"text/.*|application/(?:.*\+)?(?:json|xml)|application/(?:x-)?javascript")
_FORM = "application/x-www-form-urlencoded"
_GZIP = frozenset({"gzip", "x-gzip"})
_LONGEST_INFLATED = 20_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What one side has answered.

    `status` is 0 where there was no answer (exception, timeout), `headers` are ASGI's raw pairs
    with their names in lower case, `error` is what the side has raised. `by_hook`: a hook or
    middleware has answered instead of the view. `cut` says why there is no body to compare:
    `stream`, `too_long`, `timeout`.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    error: BaseException | None = None
    by_hook: bool = False
    cut: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it raised, or didn't answer at all."""
        return self.error is not None or self.status == 0

    @property
    def outcome(self) -> int | str:
        """The status, and what was raised by its name alone: messages may hold anything."""
        if not self.failed:
            return self.status
        what = f"raised {_name(type(self.error))}" if self.error is not None else "no answer"
        return f"{self.status}, {what}" if self.status else what

    def header(self, name: str) -> str | None:
        """Return a header's value, several joined by a comma (RFC 9110, section 5.3)."""
        wanted = name.encode("latin-1")
        found = [value for key, value in self.headers if key == wanted]
        return b", ".join(found).decode("latin-1") if found else None

    @property
    def readable(self) -> bool:
        """Whether the body's content coding is one that can be undone: not so brotli and zstd."""
        if b"content-encoding" not in dict(self.headers):
            return True
        coding = (self.header("content-encoding") or "identity").strip().lower()
        return coding in _GZIP or coding in ("identity", "deflate")

    def content(self) -> bytes:
        """Return the body without its content coding, as it is where that can't be undone."""
        coding = (self.header("content-encoding") or "").strip().lower()
        try:
            if coding in _GZIP:
                with gzip.GzipFile(fileobj=io.BytesIO(self.body)) as members:
                    plain = members.read(_LONGEST_INFLATED + 1)
            elif coding == "deflate":
                inflater = zlib.decompressobj()
                plain = inflater.decompress(self.body, _LONGEST_INFLATED + 1)
                if not inflater.eof or inflater.unused_data:
                    return self.body
            else:
                return self.body
        except (OSError, EOFError, zlib.error):
            return self.body
        return plain if len(plain) <= _LONGEST_INFLATED else self.body


def _name(raised: type[BaseException]) -> str:
    """Name a class as a traceback does."""
    own = raised.__module__ in ("builtins", "__main__")
    return raised.__qualname__ if own else f"{raised.__module__}.{raised.__qualname__}"


@dataclass(frozen=True, slots=True)
class MediaType:
    """A Content-Type: the type, the charset by its canonical name, the rest that has a meaning."""

    name: str = ""
    charset: str | None = None
    rest: frozenset[tuple[str, str]] = frozenset()

    @property
    def is_json(self) -> bool:
        """`application/json` or any `+json` (RFC 6839)."""
        return _JSON.fullmatch(self.name) is not None

    @property
    def is_text(self) -> bool:
        """Whether a body of this type is for people, so that it is compared as text."""
        return self.name == _FORM or _TEXT.fullmatch(self.name) is not None


@lru_cache(maxsize=256)
def media_type(value: str | None) -> MediaType:
    """Read a Content-Type header; JSON is UTF-8 whether it says so or not (RFC 8259)."""
    if value is None:
        return MediaType()
    message = Message()
    message["content-type"] = value
    parts = message.get_params(failobj=[], unquote=True)
    if not parts:
        return MediaType()
    name = parts[0][0].strip().lower()
    rest = {key.lower(): each for key, each in parts[1:]}
    charset = rest.pop("charset", None)
    # A boundary is made anew for every answer.
    rest.pop("boundary", None)
    if charset is not None:
        try:
            charset = codecs.lookup(charset).name
        except (LookupError, ValueError):
            charset = charset.lower()
    found = MediaType(name, charset, frozenset(rest.items()))
    return MediaType(name, None, found.rest) if found.is_json and charset == "utf-8" else found


def cookies(answer: Answer) -> dict[str, str]:
    """Return the cookies that an answer sets, by name: `set` or `deleted`, never a value."""
    found: dict[str, str] = {}
    for key, value in answer.headers:
        if key.lower() == b"set-cookie":
            pair, *attributes = value.decode("latin-1").split(";")
            name = pair.partition("=")[0].strip()
            found[name] = "deleted" if _deletes(attributes) else "set"
    return found


def _deletes(attributes: list[str]) -> bool:
    """Max-Age comes before Expires (RFC 6265, section 5.3); a deletion expires in 1970."""
    values = {
        name.strip().lower(): value.strip()
        for name, _, value in (each.partition("=") for each in attributes)
    }
    age = values.get("max-age", "")
    if age.removeprefix("-").isdigit():
        return int(age) <= 0
    try:
        return parsedate_to_datetime(values["expires"]).year <= 1970  # noqa: PLR2004
    except (KeyError, ValueError, TypeError):
        return False
