"""A small shop in the middle of its move from Flask to FastAPI: what `gateway demo` serves.

The story. The shop has run on Flask for ten years. Its pages work, its habits show: a token check
in `before_request`, helpers that reach for `request` and `g` four calls down, a user page that
hands out the password hash, routes that exist because somebody imports a module. The team writes
FastAPI handlers beside it and moves one route at a time, by lines in `config/gateway.yaml`. Both
sides run in one process on one SQLite file, so either sees what the other wrote.

The layout.

- `shop/`: the domain, free of any web framework, used by both sides: tables, database, seed data,
  the rules for items, users and files. A team that migrates ends up with such a package.
- `legacy/`: the Flask app, `gateway.demo.legacy:create_app()`.
- `native/`: the FastAPI app, `gateway.demo.native:app`. It never imports Flask, nor `legacy/`.
- `traffic.py`: some twenty customers who use the shop over real sockets; `orders_traffic.py`: the
  story's, who look at their orders.

What to look at, by the systems our users come from:

==================  =========================================  ===========================
system              legacy                                     native
==================  =========================================  ===========================
guarded items       `items.py`, `pipeline.py`                  `routers/items.py`
users               `users.py` (password included: intended)   `routers/users.py`
builds              `builds.py` (flat)                         `routers/builds.py` (nested)
file enrichment     `files.py`, `enrichment.py`                `routers/files.py`
two API versions    `api_v1.py`                                `routers/api_v2.py`
the story's bug     `orders.py` (right)                        `routers/orders.py` (wrong)
routes by import    the imports in `__init__.py`               (explicit `include_router`)
==================  =========================================  ===========================

Settings, all from the environment: GATEWAY_DEMO_TOKEN (default `demo-token`) is what `X-Token`
must carry; GATEWAY_DEMO_DB is the database file (default: one in a temporary directory that lives
as long as the process, so set it when you run several workers); GATEWAY_DEMO_MENDED, not empty,
mends the native order total, whose bug `gateway demo --story` is about.
"""
