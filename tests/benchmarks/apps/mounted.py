"""What FastAPI's documentation advises: the Flask app mounted under a path, through a2wsgi."""

from typing import Any, cast

from a2wsgi import WSGIMiddleware

from tests.benchmarks.apps.legacy import app as legacy
from tests.benchmarks.apps.native import app

# Both casts: each package has its own types for the same protocol.
app.mount("/legacy", cast("Any", WSGIMiddleware(cast("Any", legacy))))
