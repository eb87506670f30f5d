"""A fuzzer for one promise: a moved route is never weaker than it was.

It makes worlds (a Flask app with random guards, a FastAPI app, a config that moves routes from one
to the other) and sends random bytes to each. A native handler may run only if bare Flask, given the
same bytes, called the view that the handler stands in for.

`python -m tests.guardfuzz --minutes 30` runs it; `--seed N --only K` runs one request again.
"""
