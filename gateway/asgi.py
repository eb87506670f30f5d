"""`GATEWAY_CONFIG=config/gateway.yaml uvicorn gateway.asgi:app`: serve from config alone.

`GATEWAY_STRICT=1` and `GATEWAY_ONLY_LEGACY=1` are what `gateway serve --strict` and `--only-legacy`
are.
"""

from __future__ import annotations

import os
import sys

from gateway.app import Gateway
from gateway.exceptions import ConfigError, GatewayError
from gateway.loading import default_path, load
from gateway.printable import shown, shown_lines

try:
    if os.environ.get("GATEWAY_ONLY_LEGACY") == "1":
        app = Gateway(config=load(default_path(), only_legacy=True), verify_lock=False)
    else:
        app = Gateway(config=default_path(), strict=os.environ.get("GATEWAY_STRICT") == "1")
except ConfigError as error:
    for problem in error.problems:
        sys.stderr.write(f"{shown(str(problem))}\n")
    sys.exit(2)
except GatewayError as error:
    sys.stderr.write(f"{shown_lines(str(error))}\n")
    sys.exit(2)
