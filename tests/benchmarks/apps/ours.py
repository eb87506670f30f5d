"""Both apps behind the gateway, with shipped defaults but for the size of an upload."""

from typing import Any, cast

from gateway import Gateway
from tests.benchmarks.apps.legacy import app as legacy
from tests.benchmarks.apps.native import app as native

CONFIG = {
    "version": 1,
    "legacy": {"max_body": "1GB"},
    "routes": [{"path": "/native/hello", "cutover": "native", "hooks": "skip", "auth": "none"}],
}

app = Gateway(legacy=cast("Any", legacy), native=native, config=CONFIG)
