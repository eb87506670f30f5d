"""A file that several commands may change at once, and an editor besides: no change is lost."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.exceptions import GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How long to wait for another command that changes a file of the same folder, in seconds.
PATIENCE_SECONDS = 60.0


class FileBusy(GatewayError):
    """Another command has been changing a file of the same folder for too long."""


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other commands from changing files in `folder` meanwhile.

    The folder is locked and not the file, which is replaced, nor one beside it, which would stay.
    Raises FileBusy, and OSError where the folder can't be opened or locked.
    """
    import fcntl  # noqa: PLC0415 - Windows has none, and must not miss the other commands

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise FileBusy("another command is changing it; try again") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def replace_bytes(target: Path, data: bytes) -> None:
    """Put a new content in the place of a file's, as one step that survives a crash.

    Mode and owner stay, the owner only as far as this process may set it. Raises OSError, and then
    the file is as it was.
    """
    found = target.stat()
    handle, name = tempfile.mkstemp(".new", f".{target.name}.", target.parent)
    fresh = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            with contextlib.suppress(PermissionError):
                os.fchown(handle, found.st_uid, found.st_gid)
            os.fchmod(handle, stat.S_IMODE(found.st_mode))
            file.flush()
            os.fsync(handle)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
