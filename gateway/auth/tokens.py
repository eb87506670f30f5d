"""A ready-made dependency: one secret token in a header, compared in constant time."""

# No postponed annotations: FastAPI before 0.116 can't resolve them on an instance's __call__.

import hmac
import os
from pathlib import Path

from fastapi import HTTPException, Request

from gateway.exceptions import GatewayError


class ApiToken:
    """Lets in whoever shows one of the tokens of an environment variable or a file.

        check_token = ApiToken(env="SHOP_TOKEN")        # auth.dependency: shop.auth:check_token

    Several tokens, one a line or split by blanks, allow a rotation without a gap. A file is read
    again when it changes, as a mounted Kubernetes secret does. Returns `name`, the caller's id.

    Raises GatewayError where no token is configured; HTTPException 401 for a missing, wrong or
    repeated header.
    """

    def __init__(
        self,
        *,
        env: str | None = None,
        file: str | os.PathLike[str] | None = None,
        header: str = "X-Token",
        name: str = "token",
    ) -> None:
        if (env is None) == (file is None):
            message = "ApiToken needs exactly one of env and file"
            raise GatewayError(message)
        self._env = env
        self._file = Path(file) if file is not None else None
        self._header = header
        self._name = name
        self._stamp: object = None
        self._tokens: tuple[bytes, ...] = ()
        self._current()

    async def __call__(self, request: Request) -> str:
        """Check the header; return the caller's id."""
        shown = request.headers.getlist(self._header)
        if len(shown) == 1:
            data = shown[0].encode("latin-1")
            # All of them, whichever fits: the time must not tell which one did.
            if sum(hmac.compare_digest(data, token) for token in self._current()):
                return self._name
        raise HTTPException(401, "Unauthorized", {"WWW-Authenticate": self._header})

    def _current(self) -> tuple[bytes, ...]:
        if self._file is not None:
            self._read_file(self._file)
        elif not self._tokens:
            self._tokens = _split(os.environ.get(self._env or "", ""))
        if not self._tokens:
            where = f"the environment variable {self._env}" if self._env else str(self._file)
            raise GatewayError(f"there is no token in {where}")
        return self._tokens

    def _read_file(self, file: Path) -> None:
        """Read the file if it has changed; one that vanished keeps the last good tokens."""
        try:
            status = file.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                tokens = _split(file.read_text(encoding="utf-8"))
                self._tokens, self._stamp = tokens or self._tokens, stamp
        except OSError as error:
            if not self._tokens:
                message = f"the token file {file} can't be read: {error.strerror}"
                raise GatewayError(message) from error


def _split(text: str) -> tuple[bytes, ...]:
    return tuple(token.encode() for token in text.split())
