"""What libraries do to callers, as far as it is known: by name, never by guess."""

from __future__ import annotations

import sys

#: Statuses that turn a caller away for who they are (RFC 9110; RFC 7235 for 407).
REFUSALS = frozenset({401, 403, 407})

#: Packages that know nothing of who is calling. What isn't here or below may refuse.
_HARMLESS = frozenset({
    "_pytest", "_thread", "aiohttp", "alembic", "anyio", "arrow", "asgiref", "asyncer", "attr",
    "attrs",
    "babel", "bleach", "blinker", "boto3", "botocore", "bs4", "cachelib", "cachetools", "celery",
    "certifi", "click", "cryptography", "dateutil", "deepdiff", "dns", "dotenv", "elasticsearch",
    "faker", "fastapi", "flask", "flask_babel", "flask_caching", "flask_compress", "flask_cors",
    "flask_limiter", "flask_mail", "flask_mailman", "flask_marshmallow", "flask_migrate",
    "flask_session", "flask_socketio", "flask_sqlalchemy", "flask_talisman", "geopy", "greenlet",
    "gunicorn", "html5lib", "httpcore", "httpx", "idna", "itsdangerous", "jinja2", "jmespath",
    "jsonschema", "kombu", "limits", "loguru", "lxml", "mako", "markdown", "markupsafe",
    "marshmallow", "marshmallow_sqlalchemy", "mongoengine", "mysql", "MySQLdb", "numpy",
    "openpyxl", "opentelemetry", "orjson", "packaging", "pandas", "peewee", "phonenumbers", "PIL",
    "pony", "prometheus_client", "psutil", "psycopg", "psycopg2", "pycountry", "pydantic",
    "pydantic_core", "pydantic_settings", "pymongo", "pymysql", "pytest", "pytz", "qrcode",
    "redis", "reportlab", "requests", "rich", "rq", "ruamel", "scipy", "sentry_sdk", "simplejson",
    "six", "slugify", "sniffio", "sqlalchemy", "sqlalchemy_utils", "sqlmodel", "starlette",
    "stripe", "structlog", "tabulate", "tenacity", "tomlkit", "tornado", "tzlocal", "ujson",
    "unidecode", "urllib3", "validators", "werkzeug", "wtforms", "wtforms_sqlalchemy",
    "xlsxwriter", "xmltodict", "yaml", "zoneinfo", "flask_wtf", "flask_login", "brotli",
    "brotlicffi", "decorator", "flask_restx", "flask_restful", "flask_smorest", "webargs",
    "apispec", "flasgger", "aniso8601", "flask_admin", "flask_debugtoolbar", "flask_assets",
    "flask_moment", "flask_bootstrap", "flask_httpauth",
})  # fmt: skip
#: Parts of Python that run what they are given by name, or text.
_RUNS_ANYTHING = frozenset({"importlib", "runpy", "code", "codeop", "ctypes", "pickle", "unittest"})

#: Parts of those that run nothing.
_PLAIN_PARTS = ("importlib.metadata", "importlib.resources")

#: `module.qualname` (a prefix) of what turns callers away, and what it does.
REFUSES = {
    "flask_login.utils.login_required": "needs a login (flask_login.login_required)",
    "flask_login.utils.fresh_login_required": "needs a fresh login (flask_login)",
    "flask_login.login_manager.LoginManager.unauthorized": "calls LoginManager.unauthorized",
    "flask_login.login_manager.LoginManager.needs_refresh": "calls LoginManager.needs_refresh",
    "flask_jwt_extended.view_decorators.jwt_required": "needs a JWT (flask_jwt_extended)",
    "flask_jwt_extended.view_decorators.verify_jwt_in_request": "verifies a JWT",
    "flask_jwt_extended.view_decorators.fresh_jwt_required": "needs a JWT (flask_jwt_extended)",
    "flask_httpauth.HTTPAuth.login_required": "needs a login (flask_httpauth)",
    "flask_httpauth.MultiAuth.login_required": "needs a login (flask_httpauth)",
    "flask_principal.IdentityContext": "needs a permission (flask_principal)",
    "flask_principal.Permission.require": "needs a permission (flask_principal)",
    "flask_principal.Permission.test": "needs a permission (flask_principal)",
    "flask_security.decorators.": "is guarded by flask_security",
    "flask_basicauth.BasicAuth.required": "needs a login (flask_basicauth)",
    "flask_basicauth.BasicAuth.challenge": "asks for a login (flask_basicauth)",
    "flask_wtf.csrf.CSRFProtect.protect": "refuses without a CSRF token",
    "flask_wtf.csrf.CSRFProtect._error_response": "refuses without a CSRF token",
    "flask_wtf.csrf.validate_csrf": "refuses without a CSRF token",
}
#: What looks as if it were one of the two below, and is neither.
HARMLESS = {
    "flask_login.login_manager.LoginManager._update_remember_cookie": "keeps a cookie",
    "flask_principal.Principal._set_thread_identity": "keeps an identity",
}
#: The same for what only tells who is calling.
IDENTIFIES = {
    "hmac.compare_digest": "compares a secret",
    "_hashlib.compare_digest": "compares a secret",
    "_operator._compare_digest": "compares a secret",
    "secrets.compare_digest": "compares a secret",
    "werkzeug.security.check_password_hash": "checks a password",
    "flask_login.utils.": "asks Flask-Login who is calling",
    "flask_login.login_manager.": "asks Flask-Login who is calling",
    "flask_login.mixins.": "asks Flask-Login who is calling",
    "flask_jwt_extended.": "reads a JWT",
    "flask_principal.": "asks Flask-Principal who is calling",
    "flask_httpauth.": "asks Flask-HTTPAuth who is calling",
    "jwt.": "reads a JWT",
    "bcrypt.": "checks a password",
    "passlib.": "checks a password",
    "flask_bcrypt.": "checks a password",
}
#: Names of methods that are reported on whatever object, unless its class is read.
ALARMING = frozenset({
    "abort", "unauthorized", "forbidden", "deny", "require", "requires", "reject", "refuse",
    "authorize", "check_access", "login_required", "needs_refresh", "protect",
})  # fmt: skip
#: Parameters that say who is calling: these, and those with one of the second in their names.
_SECRETS = frozenset({"key", "auth", "pin", "otp", "sig", "hash", "sid", "user", "username"})
_SECRET_PARTS = (
    "authorization", "token", "api-key", "apikey", "api_key", "secret", "signature", "password",
    "passwd", "session",
)  # fmt: skip
#: Headers that say nothing of who is calling; those that begin with one of the second do neither.
_PLAIN_HEADERS = frozenset({
    "age", "alt-used", "cache-control", "connection", "date", "depth", "destination", "dnt",
    "expect", "forwarded-proto", "host", "keep-alive", "link", "max-forwards", "overwrite",
    "pragma", "prefer", "priority", "range", "referer", "referrer", "save-data", "te", "trailer",
    "traceparent", "tracestate", "transfer-encoding", "upgrade", "user-agent", "via", "warning",
    "x-correlation-id", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix",
    "x-forwarded-proto", "x-http-method-override", "x-request-id", "x-requested-with",
    "x-request-start", "x-trace-id",
})  # fmt: skip
_PLAIN_STARTS = ("accept", "content-", "hx-", "if-", "sec-", "turbo-", "upgrade-")
#: Attributes of `flask.g`, or of a request, that say who is calling.
IDENTITIES = (
    "user", "client", "account", "identity", "principal", "auth", "token", "role", "scope", "admin",
    "tenant", "customer", "member", "staff", "permission", "jwt", "claims", "api_key",
)  # fmt: skip
LOGIN_WORDS = ("login", "log-in", "log_in", "signin", "sign-in", "sign_in", "logon", "/auth", "sso")


def is_of_python(root: str) -> bool:
    """Tell whether a package is a part of Python."""
    return root in sys.stdlib_module_names or root == "builtins"


def is_harmless(module: str) -> bool:
    """Tell whether a module's code turns no caller away, whatever it is asked."""
    root = module.partition(".")[0]
    if is_of_python(root):
        return root not in _RUNS_ANYTHING or module.startswith(_PLAIN_PARTS)
    return root in _HARMLESS or root == "gateway"


def is_known(root: str) -> bool:
    """Tell whether a package is one whose code is known by name, and isn't read."""
    names = (*REFUSES, *IDENTIFIES, *HARMLESS)
    return is_harmless(root) or root in {each.partition(".")[0] for each in names}


def said_of(name: str, table: dict[str, str]) -> str | None:
    """Return what a table says of `module.qualname`."""
    exact = table.get(name)
    if exact is not None:
        return exact
    return next((what for prefix, what in table.items() if _below(name, prefix)), None)


def _below(name: str, prefix: str) -> bool:
    return name.startswith(prefix if prefix.endswith(".") else f"{prefix}.")


def is_login(text: str) -> bool:
    """Tell whether an address or endpoint looks like a login page."""
    lowered = text.lower()
    return any(word in lowered for word in LOGIN_WORDS)


def names_a_secret(parameter: str) -> bool:
    """Tell whether a parameter of this name says who is calling."""
    lowered = parameter.lower()
    return lowered in _SECRETS or any(word in lowered for word in _SECRET_PARTS)


def says_who(header: str) -> bool:
    """Tell whether a header may say who is calling: one that isn't known may."""
    lowered = header.lower().replace("_", "-")
    return not (lowered in _PLAIN_HEADERS or lowered.startswith(_PLAIN_STARTS))


def names_an_identity(attribute: str) -> bool:
    """Tell whether an attribute of this name says who is calling."""
    lowered = attribute.lower()
    return any(word in lowered for word in IDENTITIES)
