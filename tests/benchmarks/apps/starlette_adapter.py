"""The Flask app in Starlette's own adapter, bare."""

import importlib
import warnings
from typing import Any

from tests.benchmarks.apps.legacy import app as legacy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # newer releases announce that the adapter will go
    _module: Any = importlib.import_module("starlette.middleware.wsgi")

app = _module.WSGIMiddleware(legacy)
