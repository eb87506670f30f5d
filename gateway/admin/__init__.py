"""The gateway's own pages, below `admin.prefix`."""

from gateway.admin.door import Token, WeakToken
from gateway.admin.pages import Pages
from gateway.admin.probes import Phase

__all__ = ["Pages", "Phase", "Token", "WeakToken"]
