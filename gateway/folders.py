"""Folders and files in a place that others may write to, such as the system's temporary folder.

Whoever may write there can put a link, a folder or a file at a name that we are going to use. So a
private folder is opened without following a link, looked at, and kept open: what is done in it is
done by its handle, wherever its name leads meanwhile. A file that users name, or that lies beside
their config, is theirs to link; only in a folder that everybody may write to a link is refused
that somebody else has made.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
#: A FIFO in a file's place must make nobody wait.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
_LINK = "it is a symbolic link, perhaps planted: remove it"


def private_folder() -> Folder:
    """Return this user's folder below the temporary one, made if need be.

    Raises OSError where it isn't ours alone.
    """
    return Folder.private(Path(tempfile.gettempdir()) / f"gateway-{os.geteuid()}")


class Folder:
    """An open folder that nobody else may enter. Every method may block and raises OSError.

    Names are those of its own files; links are never followed.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        """Where it was found, for messages: it may have been moved since."""
        self._handle = handle

    @classmethod
    def private(cls, path: Path, parent: int | None = None) -> Self:
        """Open the folder at `path`, made if need be; by its name alone below an open `parent`."""
        name = path if parent is None else path.name
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, _LINK, str(path))
        try:
            handle = os.open(name, _FOLDER, dir_fd=parent)
        except OSError as error:  # perhaps it has become a link since
            raise OSError(error.errno, error.strerror, str(path)) from None
        found = os.fstat(handle)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            os.close(handle)
            what = "others may enter it: remove it, or give it to this user with mode 700"
            raise PermissionError(errno.EACCES, what, str(path))
        return cls(path, handle)

    def below(self, name: str) -> Folder:
        """Open a folder in this one, made if need be."""
        return Folder.private(self.path / name, self._handle)

    def names(self) -> list[str]:
        """List what is in it."""
        return os.listdir(self._handle)  # noqa: PTH208 - a handle, no path

    def age(self, name: str) -> float:
        """Return how many seconds ago a file was written."""
        return time.time() - os.stat(name, dir_fd=self._handle, follow_symlinks=False).st_mtime

    def touch(self, name: str) -> None:
        """Make a file as young as one just written."""
        os.utime(name, dir_fd=self._handle, follow_symlinks=False)

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        with os.fdopen(self._open(name, _READ), "rb") as file:
            return file.read()

    def write(self, name: str, data: bytes) -> None:
        """Put a content in a file's place, as one step."""
        fresh = f".{name}.{os.getpid()}-{threading.get_ident()}.new"
        self.remove(fresh)
        try:
            with os.fdopen(os.open(fresh, _MAKE, 0o600, dir_fd=self._handle), "wb") as file:
                file.write(data)
            os.replace(fresh, name, src_dir_fd=self._handle, dst_dir_fd=self._handle)
        except OSError:
            with contextlib.suppress(OSError):
                self.remove(fresh)
            raise

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._handle)

    def remove_below(self, name: str) -> None:
        """Remove a folder of files in this one; of a link nothing but itself."""
        try:
            with self.below(name) as folder:
                for each in folder.names():
                    folder.remove(each)
        except OSError:
            self.remove(name)
        else:
            os.rmdir(name, dir_fd=self._handle)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock that a file stands for; waits for whoever holds it."""
        import fcntl  # noqa: PLC0415 - Windows has none, and no servers with several workers

        handle = self._open(name, _LOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _open(self, name: str, flags: int) -> int:
        handle = os.open(name, flags, 0o600, dir_fd=self._handle)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, "it is no regular file: remove it", str(self.path / name))
        return handle

    def close(self) -> None:
        """Give the handle back. Idempotent."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def refuse_planted(path: Path) -> None:
    """Raise PermissionError where somebody else has put `path`, or its folder, in our way.

    That is: in a folder that everybody may write to, a link, file or folder of another user than
    this one or root; or a file that has a second name, through which another file would be written.
    """
    for each in (path.parent, path):
        try:
            place, found = each.parent.stat(), each.lstat()
        except FileNotFoundError:
            continue
        if not place.st_mode & stat.S_IWOTH:
            continue
        where = f"everybody may write to {each.parent}, and it"
        if found.st_uid not in (os.geteuid(), 0):
            what = f"{where} belongs to somebody else: remove it, or use a folder of your own"
            raise PermissionError(errno.EACCES, what, str(each))
        if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            what = f"{where} has a second name: remove it, or use a folder of your own"
            raise PermissionError(errno.EACCES, what, str(each))
