"""Which names make their value a secret, and text without the secrets that stand in it.

Everything that is shown or kept of a request or an answer goes through one of these:
`without_secrets` for a text, `query_without_secrets`, `path_without_secrets` and
`target_without_secrets` for what a client asks for, `secret_members` and `is_secret_pair` for
values. They all ask `is_secret` about names. In doubt a value is hidden.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from gateway.printable import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: Stands in a secret's place.
HIDDEN = "***"

# -- names --------------------------------------------------------------------------------------

#: Other words that hold a secret one: `compass`, but not `compassword`.
_HARMLESS = re.compile(
    r"(?:(?:en)?compass|bypass|trespass|(?:over|under|sur)pass|pass(?:eng|ag|iv|ion|port|ing|ed|es)"
    r"|possession|obsession|secretar(?:y|ies|iat))(?!w(?:or)?d|phrase|code|key)"
)
#: What makes a name secret wherever it stands between two separators.
_WITHIN = re.compile(
    r"passw|pass(?:phrase|code|key|hash|salt)|pwd|pswd|secret|token|jwt|authorization|credential"
    r"|cookie|private|sess(?:ion|id)|signature|[cx]srf|kennwort|contrase[nñ]a|motdepasse"
    r"|(?:api|access|encryption|signing|subscription)key|\wpass$|^t?otp|otp$"
    r"|^(?:new|old|my|user|card|login|access|security|current|confirm)pin$|^pin(?:code|hash)$"
)
#: What does so only as a word of its own: `new_pin`, `newPin`, `pin[0]`, not `shipping`.
_WORDS = re.compile(
    r"\b(?:(?:pass|pin)(?! (?:rates?|counts?|ratio|percent(?:age)?|through|fail|marks?|scores?)\b)"
    r"|pwd|pw|psw|pword|otp|totp|hotp|sid|sig|cvv|cvc|creds?|bearer|hmac"
    r"|(?:api|access|encryption|signing|subscription|master|license|ssh) keys?|auth(?=$))\b"
)
#: Headers that only speak of secrets (Fetch, section 3.2.3).
_SPOKEN_OF = frozenset({"access-control-allow-credentials"})
#: The words of `userPIN`, `APIKey` and `pass2`.
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_RUNS = re.compile(r"[^\W_]+")
#: `%2570` is `%70`, encoded once more; here however often.
_ENCODED_AGAIN = re.compile(r"%(?:25)+(?=[0-9a-fA-F]{2})")
_ESCAPED = re.compile(r"(?<!\\)\\++(?:u00|x)([0-9a-fA-F]{2})")
#: How often a text is decoded; each time undoes any number of encodings of a percent sign.
_ROUNDS = 4
#: Names up to this length are remembered: answers have the same ones again and again.
_SHORT = 200


def is_secret(name: str) -> bool:
    """Tell whether a value of this name must not be shown, however the name is written.

    Names may be percent-encoded, once or several times, nested (`user[pwd]`), or in camel case.
    """
    return _is_short_secret(name) if len(name) <= _SHORT else _is_secret(name)


def _is_secret(name: str) -> bool:
    if name.lower() in _SPOKEN_OF:
        return False
    name = unicodedata.normalize("NFKC", _ESCAPED.sub(_unescaped, _decoded(name)))
    if not name.isprintable():
        # What can't be seen separates for some readers, others leave it out.
        name = f"{name} {''.join(filter(str.isprintable, name))}"
    runs = [_HARMLESS.sub("", run) for run in _RUNS.findall(name.lower())]
    if any(_WITHIN.search(run.strip("0123456789")) for run in runs):
        return True
    words = " ".join(run.strip("0123456789") for run in _RUNS.findall(name.lower()))
    return _WORDS.search(words) is not None or (
        _WORDS.search(" ".join(_CAMEL.findall(name)).lower()) is not None
    )


_is_short_secret = lru_cache(4096)(_is_secret)


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def _decoded(text: str) -> str:
    """Undo percent-encoding and plus signs, however often they were put on."""
    for _ in range(_ROUNDS):
        before, text = text, unquote_plus(_ENCODED_AGAIN.sub("%", text))
        if before == text:
            break
    return text


# -- texts --------------------------------------------------------------------------------------

#: `scheme://user:password@host`; what follows the colon may also be a port.
_IN_URL = re.compile(
    r"""(://[^\s/:@?\#"'<>]{0,200}+:)(?!\d{1,5}(?:[/?\#\s"']|$))"""
    r"""(?:[^\s/?\#"'<>]{0,200}@|[^\s"'<>]{0,200}@)"""
)
#: Header lines whose values have several parts.
_LINES = re.compile(r"((?:authorization|cookie)\s{0,4}:\s{0,4})[^\n]+", re.IGNORECASE)
#: A JSON Web Token speaks for itself (RFC 7519: base64 of `{"`).
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{5,}+\.[\w-]{2,}+(?:\.[\w-]*+)?")
#: A tag, whose attributes may name one value and hold it in another: `name="pwd" value="…"`.
_TAG = re.compile(r"""<[a-z](?:"[^"]*+"|'[^']*+'|[^<>"'])*+>""", re.IGNORECASE)
_NAMING = re.compile(
    r"""\b(?:name|id|type|property|itemprop)\s{0,4}=\s{0,4}["']?([^"'\s>]+)""", re.IGNORECASE
)
_HOLDING = re.compile(
    r"""(\b(?:value|content)\s{0,4}=\s{0,4})(?:"[^"]*+"?|'[^']*+'?|[^\s>]++)""", re.IGNORECASE
)
_ELEMENT = re.compile(r"<([\w.:-]++)([^<>]*+)>[^<>]++(?=</)")
#: A path's segment, with another one behind it that is no file of code.
_SEGMENT = re.compile(r"/(?P<name>[\w.%~-]++)/(?![\w-]+\.(?:py|so|js|css|html?)\b)")
_NEXT = re.compile(r"""[^/?\#\s"'<>&,;)\]}\\]+""")
_IN_NAME = r"[\w.%+\[\]$\\-]"
#: `token=`, `"password": `, `user[password]=`, `('authorization', `: all up to the value.
_NAME = re.compile(
    rf"""(?<!{_IN_NAME})(?P<name>{_IN_NAME}++)["'\]]{{0,2}}\s{{0,4}}[=:,]\s{{0,4}}"""
)
#: The value: quoted (by `\"` within JSON), to the line's end where no quote closes it; a list; a
#: mapping; or all up to what ends it. A quote within a word doesn't.
_VALUE = re.compile(
    r"""(?:(?:bearer|basic|token|digest)\s+)?(?:"""
    r"""b?(?P<back>\\*+)(?P<quote>["'])"""
    r"""(?:(?!(?<!\\)(?P=back)(?P=quote))[^\n])*+(?:(?P=back)(?P=quote))?"""
    r"""|\[[^\]\n]*+\]?|\{[^}\n]*+\}?"""
    r"""|(?:[^\s"'&<>},]|["'}](?![\s,;:)\]}>"'&<]|$)|,(?!\s|\\*["']|$))++)""",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """Hide what stands behind a secret's name, as in a form, a header line, a URL, JSON or HTML."""
    if "@" in text:
        text = _IN_URL.sub(rf"\g<1>{HIDDEN}@", text)
    text = _LINES.sub(rf"\g<1>{HIDDEN}", text)
    text = _JWT.sub(HIDDEN, text)
    if "<" in text:
        text = _TAG.sub(_tag, text)
        text = _ELEMENT.sub(_element, text)
    if "/" in text:
        text = "".join(_hidden(text, _SEGMENT, _NEXT))
    return "".join(_hidden(text, _NAME, _VALUE))


def _tag(match: re.Match[str]) -> str:
    tag = match[0]
    if any(is_secret(name) for name in _NAMING.findall(tag)):
        return _HOLDING.sub(rf"\g<1>{HIDDEN}", tag)
    return tag


def _element(match: re.Match[str]) -> str:
    return f"<{match[1]}{match[2]}>{HIDDEN}" if is_secret(match[1]) else match[0]


def _hidden(text: str, names: re.Pattern[str], values: re.Pattern[str]) -> Iterator[str]:
    """Give the text in parts, HIDDEN for a value that follows a secret's name."""
    at = looked = 0
    while (found := names.search(text, looked)) is not None:
        end = found.end()
        looked = end - 1 if names is _SEGMENT else end  # its last slash begins the next segment
        if is_secret(found["name"]) and (value := values.match(text, end)) is not None:
            yield text[at:end]
            yield HIDDEN
            at = looked = value.end()
    yield text[at:]


# -- requests -----------------------------------------------------------------------------------


def query_without_secrets(query: bytes) -> str:
    """Return a request's query for people: decoded, and without the values of secret names.

    It is one line, and split before it is decoded. A `;` separates for some readers and for others
    it doesn't: so a secret's value ends at the next `&`.
    """
    return _parts(query.decode("latin-1"), unquote_plus)


def target_without_secrets(target: str) -> str:
    """Return a request's target, a path with or without a query, as it was sent but for secrets."""
    path, mark, query = target.partition("?")
    return f"{path_without_secrets(path)}{mark}{_parts(query, str)}"


def _parts(query: str, decode: Callable[[str], str]) -> str:
    return shown("&".join(_part(part, decode) for part in query.split("&")))


def _part(part: str, decode: Callable[[str], str]) -> str:
    told: list[str] = []
    for each in part.split(";"):
        name, equals, value = each.partition("=")
        if equals and is_secret(name):
            return ";".join([*told, f"{_once(name, decode)}={HIDDEN}"])
        told.append(f"{_once(name, decode)}{equals}{_once(value, decode)}")
    return ";".join(told)


def _once(text: str, decode: Callable[[str], str]) -> str:
    """Decode a text once, by `decode`; wholly, where only that brings a secret to light."""
    whole = _decoded(text)
    hidden = without_secrets(whole)
    return without_secrets(decode(text)) if hidden == whole else hidden


#: A segment that is shown although it comes somewhere after a secret's name: `…/token/***/edit`.
_PLAIN = re.compile(r"[a-z]{1,20}")


def path_without_secrets(path: str, template: str | None = None) -> str:
    """Hide the segments of a request's path that stand behind a secret's name.

    The next one is hidden whatever it is, those behind it unless they are plain words. What could
    steer a terminal is escaped, as `shown` does it. A path that is the `template` of its route,
    such as `/auth/rights`, was written by the app's author, and tells nothing of a client.
    """
    if path == template:
        return path
    if "@" in path:
        path = _IN_URL.sub(rf"\g<1>{HIDDEN}@", path)  # a proxy's request has a whole URL
    told: list[str] = []
    behind = 0
    for segment in path.split("/"):
        if not behind or not segment:
            told.append(segment if segment.isalnum() else _once(segment, str))
        else:
            plain = behind > 1 and _PLAIN.fullmatch(segment)
            told.append(segment if plain else HIDDEN)
        if behind and segment:
            behind += 1
        elif is_secret(segment.partition(";")[0]):
            behind = 1
    return shown("/".join(told))


# -- values -------------------------------------------------------------------------------------

_NAMES = ("name", "key", "field", "header", "param", "id")
_HOLDS = frozenset({"value", "values", "content", "text", "data"})


def secret_members(members: Mapping[Any, Any]) -> frozenset[Any]:
    """Return the keys of those members that must not be shown.

    By their own name, or by one beside them: `{"name": "password", "value": …}`.
    """
    names = (members.get(each) for each in _NAMES)
    beside = any(isinstance(name, str) and is_secret(name) for name in names)
    return frozenset(
        key for key in members if is_secret(str(key)) or (beside and str(key).lower() in _HOLDS)
    )


def is_secret_pair(items: list[Any] | tuple[Any, ...]) -> bool:
    """Tell whether two values are a name and its secret, as headers are often written."""
    return len(items) == 2 and isinstance(items[0], str) and is_secret(items[0])  # noqa: PLR2004
