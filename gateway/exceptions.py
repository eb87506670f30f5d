"""Every error the gateway raises on purpose.

::

    GatewayError
    ├── ConfigError            the configuration can't be used; carries every Problem found
    ├── AppImportError         an import string could not be turned into an app
    ├── LockError              routes.lock is missing, unreadable or no longer true
    ├── LifespanError          a request came before the server ran the lifespan
    ├── AnswerAbortedError     an answer broke off after its first byte
    ├── RevisionConflict       (snapshot) the snapshot to be replaced is no longer current
    ├── RevisionMismatch       (control) the caller's If-Match isn't the current revision
    ├── ChangeRefused          (changes) a command asks for what can't be
    ├── StoreDown              (store) the store can't be reached; the last known state holds
    ├── StoreConflict          (store) somebody else has changed the store since
    ├── WeakToken              (admin) the admin token is too short, or can't be read
    ├── CannotEdit             (editing) the config's text can't be changed by a program
    ├── FileBusy               (cli) another command has been changing the file for too long
    ├── NotYaml                (reading) the config's text can't be read as YAML
    ├── StrangeAnswer          (cli) whoever answered is no gateway, or one of another version
    └── RequestRefused         one request can't be served; carries the HTTP status
        ├── QueueFull          503: the legacy pool and its queue are full
        ├── QueueTimeout       503: waited longer than `legacy.queue_timeout`
        ├── ShuttingDown       503: the process takes no more legacy requests
        ├── SpoolFull          503: all spooled bodies together reached `legacy.spool_limit`
        ├── DiskFull           507: the disk for spooled bodies is full
        ├── BodyTimeout        408: the client sent nothing for `legacy.body_timeout`
        ├── BodyTooLarge       413: above `legacy.max_body`
        └── BadRequest         400: the request can't be handed to a WSGI app unambiguously

`Handover` and `UseLegacy` are no errors: they are how a request goes over to the other side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Receive


class GatewayError(Exception):
    """Base of all errors that the gateway raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the configuration: where, what, and what to do next.

    `where` is `file:line`, or the name of an environment variable; `key` the dotted path of the
    setting (empty when the whole file is meant); `code` a short stable word for scripts. A
    `finding` is an error for `gateway check`; a running gateway serves its routes by legacy.
    """

    code: str
    where: str
    key: str
    what: str
    next: str = ""
    warning: bool = False
    finding: bool = False

    @property
    def fatal(self) -> bool:
        """Whether the configuration can't be served from at all."""
        return not (self.warning or self.finding)

    def __str__(self) -> str:
        """Render as `file:line: key.path: what (what next) [code]`."""
        level = "warning: " if self.warning else ""
        key = f"{self.key}: " if self.key else ""
        hint = f" ({self.next})" if self.next else ""
        return f"{self.where}: {level}{key}{self.what}{hint} [{self.code}]"


class ConfigError(GatewayError):
    """The configuration can't be used. `problems` holds every one found in one pass."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class AppImportError(GatewayError):
    """An import string such as `shop.app:create_app()` could not be turned into an app."""


class LockError(GatewayError):
    """`routes.lock` is missing, unreadable, or no longer agrees with the apps."""


class LifespanError(GatewayError):
    """A request came before the ASGI lifespan: the pool and the native app are not started."""


class RequestRefused(GatewayError):
    """One request can't be served by legacy; `status` is the HTTP status that says so."""

    status: ClassVar[int] = 500


class QueueFull(RequestRefused):
    """All legacy threads are busy and the queue is at its bound (503, with Retry-After)."""

    status = 503


class QueueTimeout(RequestRefused):
    """No legacy thread became free within `legacy.queue_timeout` (503, with Retry-After)."""

    status = 503


class BodyTooLarge(RequestRefused):
    """The request body is above `legacy.max_body` (413)."""

    status = 413


class BadRequest(RequestRefused):
    """The request is ambiguous for a WSGI app, e.g. two Content-Type headers (400)."""

    status = 400


class ShuttingDown(RequestRefused):
    """The process takes no more legacy requests (503)."""

    status = 503


class SpoolFull(RequestRefused):
    """All spooled bodies together reached `legacy.spool_limit` (503, with Retry-After)."""

    status = 503


class DiskFull(RequestRefused):
    """The disk for spooled bodies has no space left (507, RFC 4918, section 11.5)."""

    status = 507


class BodyTimeout(RequestRefused):
    """The client sent nothing of its body for `legacy.body_timeout` (408)."""

    status = 408


class AnswerAbortedError(GatewayError):
    """An answer broke off after its first byte left; the server must close the connection."""


class Handover(BaseException):
    """Raised inside the legacy app, before its first byte, to give the request to native.

    A BaseException, as `GeneratorExit` is: the app's own `except Exception` and error handlers
    must not turn it into a 500. The bridge sets `receive`, which replays the request's body from
    its start, and `environ`, as the app was called with.
    """

    receive: Receive
    environ: dict[str, Any]


class Strayed(Handover):
    """A mirrored request has turned into another one, or asks for the other side: it ends here."""


class UseLegacy(BaseException):
    """Raised by a native handler, before its first byte: legacy shall answer this request.

    For any method, with the same body from its start. A BaseException, so that the handler's own
    `except Exception`, FastAPI's handlers and `yield` dependencies don't make an answer of it.
    Where legacy has no such route the client gets 500.
    """
