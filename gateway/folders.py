"""A folder that nobody else may read or write, below the system's temporary one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def private_folder() -> Path:
    """Return this user's folder, made if need be. Raises OSError where others may write there."""
    folder = Path(tempfile.gettempdir()) / f"gateway-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(13, "others may write there", str(folder))
    return folder
