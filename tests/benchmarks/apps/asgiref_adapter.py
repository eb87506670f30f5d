"""The Flask app in asgiref's adapter, bare."""

import importlib
from typing import Any

from tests.benchmarks.apps.legacy import app as legacy

# By name: the typed code then needs no stubs of a package that only the benchmark installs.
_module: Any = importlib.import_module("asgiref.wsgi")

app = _module.WsgiToAsgi(legacy)
