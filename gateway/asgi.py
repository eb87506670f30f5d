"""`GATEWAY_CONFIG=config/gateway.yaml uvicorn gateway.asgi:app`: serve from config alone."""

from __future__ import annotations

import sys

from gateway.app import Gateway
from gateway.exceptions import ConfigError, GatewayError
from gateway.loading import default_path

try:
    app = Gateway(config=default_path())
except ConfigError as error:
    for problem in error.problems:
        sys.stderr.write(f"{problem}\n")
    sys.exit(2)
except GatewayError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(2)
