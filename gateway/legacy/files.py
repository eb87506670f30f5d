"""`wsgi.file_wrapper`: a file as an iterable of large blocks (PEP 3333)."""

from __future__ import annotations

from typing import IO, Any

MIN_BLOCK_BYTES = 262_144


class FileWrapper:
    """Reads `file` in blocks of at least 256 KiB, whatever small block size the app asks for.

    Seekable where the file is, which Werkzeug uses for ranges. `close` closes the file.
    """

    def __init__(self, file: IO[bytes], block_size: int = 8192) -> None:
        self.file = file
        self.block_size = max(block_size, MIN_BLOCK_BYTES)

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        block = self.file.read(self.block_size)
        if not block:
            raise StopIteration
        return block

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self.file, "close", None)
        if close is not None:
            close()

    def seekable(self) -> bool:
        """Tell whether `seek` may be called."""
        seekable = getattr(self.file, "seekable", None)
        return bool(seekable()) if seekable is not None else hasattr(self.file, "seek")

    def seek(self, *args: Any) -> int:
        """Move to a position, as the file does."""
        return self.file.seek(*args)

    def tell(self) -> int:
        """Return the position, as the file does."""
        return self.file.tell()
