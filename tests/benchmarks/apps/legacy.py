"""The Flask app that every peer serves, unchanged."""

import os
import time
from pathlib import Path

from flask import Flask, Response, jsonify, request, send_file

#: Bytes read at a time by the upload sink.
CHUNK = 65_536

app = Flask(__name__)


@app.get("/hello")
def hello() -> dict[str, str]:
    return {"message": "hello"}


@app.get("/native/hello")
def moved_hello() -> dict[str, str]:
    """The view that a native handler has taken over; only the gateway knows both."""
    return {"message": "hello"}


@app.post("/echo")
def echo() -> Response:
    return jsonify(request.get_json())


@app.get("/download/<int:megabytes>")
def download(megabytes: int) -> Response:
    """Send a file of `megabytes` MB (10**6 bytes) that the benchmark has written."""
    return send_file(Path(os.environ["BENCH_FILES"]) / f"{megabytes}.bin")


@app.post("/upload")
def upload() -> dict[str, int]:
    """Read the body piece by piece and forget it."""
    received = 0
    while piece := request.stream.read(CHUNK):
        received += len(piece)
    return {"received": received}


@app.get("/sleep")
def sleep() -> dict[str, str]:
    """Block the worker for one second, as a slow query would."""
    time.sleep(1)
    return {"message": "slept"}
