"""Views that turn callers away in ways that nobody would think of: none may read as harmless."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest

from gateway.guards.frame import Facts
from gateway.guards.hooks import guard
from gateway.guards.reader import Reader
from gateway.guards.values import Known

if TYPE_CHECKING:
    from pathlib import Path

SLY = """
import contextlib, functools, operator, threading

import flask
import werkzeug
from flask import *
from werkzeug.exceptions import *

VIEWS=[]
def v(f): VIEWS.append(f); return f
app=Flask("a"); app.secret_key="x"
class S:
    def __init__(self): self.ok=False; self.items=[]
    def check(self):
        if not self.ok: abort(403)
    def __iter__(self):
        self.check(); return iter([])
    def __eq__(self,o): self.check(); return True
    def __contains__(self,o): self.check(); return True
    def __len__(self): self.check(); return 1
    def __str__(self): self.check(); return ""
    def __del__(self): pass
    def save(self): self.check()
s=S()
class P(S):
    pass
class Desc:
    def __get__(self,i,o): abort(403)
class HasDesc:
    x=Desc()
class Meta(type):
    def __call__(cls,*a): abort(403)
class WithMeta(metaclass=Meta): pass
class CM:
    def __enter__(self): return S()
    def __exit__(self,*a): return None
CACHE={}
def getit(k):
    if k not in CACHE: CACHE[k]=S()
    return CACHE[k]
current=None
def init():
    global current
    current=S()
class Lazy:
    inst=None
    @classmethod
    def get(cls):
        if cls.inst is None: cls.inst=S()
        return cls.inst
def deco(f):
    class W:
        def __call__(self,*a):
            if not request.args: abort(401)
            return f(*a)
    return W()
@v
def a1(): return "".join(str(x) for x in s)
@v
def a2(): return "x" if s=="y" else "z"
@v
def a3(): return "x" if "a" in s else ""
@v
def a4(): return str(len(s))
@v
def a5(): return f"{s}"
@v
def a6(): return jsonify(x=str(s))
@v
def a7(): return HasDesc().x
@v
def a8(): WithMeta(); return ""
@v
def a9():
    with CM() as c: c.check()
    return ""
@v
def b1(): getit("a").check(); return ""
@v
def b2():
    current.check(); return ""
@v
def b3(): Lazy.get().check(); return ""
@v
@deco
def b4(): return ""
@v
def b5():
    for n in ["check"]:
        getattr(s,n)()
    return ""
@v
def b6():
    f=[s.check,s.save][int(request.args["i"])]
    f(); return ""
@v
def b7():
    d={"a":s.check}
    d[request.args["k"]]()
    return ""
@v
def b8():
    x={}
    x["c"]=s
    x["c"].check()
    return ""
@v
async def b9():
    await helper(); return ""
async def helper(): abort(403)
@v
def c1():
    try:
        v=request.args["x"]
    except KeyError:
        return "no",401
    return v
@v
def c2():
    while True:
        if request.args.get("a"): break
        return "no",403
    return "x"
@v
def c3():
    r=make_response("x"); r.status_code=200 if request.args else 403; return r
@v
def c4():
    code=200
    if not request.args: code=403
    return "x",code
@v
def c5():
    return {"error":1}, 401, {"X":"1"}
@v
def c6():
    class Inner:
        def go(self): abort(403)
    Inner().go(); return ""
@v
def c7():
    exec("abort(403)"); return ""
@v
def c8():
    import importlib
    importlib.import_module("x").check(); return ""
@v
def c9():
    sorted([1,2], key=lambda x: abort(403)); return ""
@v
def d1():
    raise type("X",(Forbidden,),{})()
@v
def d2():
    e=Forbidden; raise e
@v
def d3():
    raise {403:Forbidden}[403]
@v
def d4():
    return Response("x",status="403")
@v
def d5():
    return app.response_class("x",403)
@v
def d6():
    return current_app.response_class(status=401)
@v
def d7():
    return current_app.make_response(("x",403))
@v
def d8():
    r=Response("x"); r.status="403 F"; return r
@v
def d9():
    return flask.Response.force_type(Forbidden())
@v
def e1():
    return Forbidden().get_response()
@v
def e2():
    return werkzeug.Response("x",401)
@v
def e3():
    h = current_app.extensions.get("guard"); h.check(); return ""
@v
def e4():
    current_app.guard.check(); return ""
@v
def e5():
    current_app.ensure(); return ""
@v
def e6():
    request.user.check(); return ""
@v
def e7():
    assert request.args, "x"
    g.get("checker")(); return ""
@v
def e8():
    def gen():
        abort(403); yield 1
    next(gen()); return ""
@v
def e9():
    return stream_with_context(x for x in s)
@v
def f1():
    a,b=(403,1); abort(a)
@v
def f2():
    abort(*[403])
@v
def f3():
    abort(**{"code":403})
@v
def f4():
    lst=[]; lst.append(403); abort(lst[0])
@v
def f5():
    abort(int("4"+"03"))
@v
def f6():
    from flask import abort as x; x(403)
@v
def f7():
    return redirect(location="/login")
@v
def f8():
    if not request.args: return Response("",302,{"Location":"/login"})
    return ""
@v
def f9():
    P().save(); return ""
@v
def g1():
    functools.reduce(lambda a,b: s.check(), [1,2]); return ""
@v
def g2():
    S.check(s); return ""
@v
def g3():
    super(P, P()).save(); return ""
@v
def g4():
    (lambda: s.save())(); return ""
@v
def g5():
    x = s.check if request.args else None
    x and x(); return ""
@v
def g6():
    del s.items; s.__dict__["x"].go(); return ""
@v
def g7():
    vars(s)["ok"]; operator.methodcaller("check")(s); return ""
@v
def g8():
    print(s); return ""
@v
def g9():
    return "%s" % s
@v
def h1():
    return render_template_string("{{ s }}", s=s)
@v
def h2():
    yield_from(); return ""
def yield_from():
    def inner():
        yield from other()
    return list(inner())
def other():
    yield 1
    abort(403)
@v
def h3():
    with contextlib.ExitStack() as st: st.enter_context(guarded())
    return ""
@contextlib.contextmanager
def guarded():
    abort(403); yield
@v
def h4():
    threading.Thread(target=s.check).start(); return ""
@v
def h5():
    return "x", request.args.get("c", 403)
@v
def h6():
    raise BadRequest(response=Response("",403))
@v
def h7():
    abort(Response("",403))
@v
def h8():
    return current_app.view_functions["b1"]()
@v
def h9():
    return current_app.dispatch_request()
@v
def i1():
    return current_app.handle_http_exception(Forbidden())
@v
def i2():
    e = HTTPException(); e.code = 403; raise e
@v
def i3():
    e = HTTPException("x"); e.response=Response("",403); raise e
@v
def i4():
    p = P(); p.check = lambda: abort(401); p.check(); return ""
@v
def i5():
    setattr(s, "go", s.check); s.go(); return ""
@v
def i6():
    if (m := s.check) : m()
    return ""
@v
def i7():
    return (lambda c: ("x", c))(403)
@v
def i8():
    return [("x",403)][0]
@v
def i9():
    return max(("x",403),("x",200))
@v
def j1():
    return dict(a=("x",403))["a"]
"""


@pytest.fixture(scope="module")
def sly(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path: Path = tmp_path_factory.mktemp("sly") / "sly_views.py"
    path.write_text(SLY)
    spec = importlib.util.spec_from_file_location("sly_views", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_sly_view_reads_as_harmless(sly: Any) -> None:
    reader = Reader(sly.app)
    facts = Facts("x", None, "/x", "GET", Known("/x"), given=True)
    missed = [
        getattr(view, "__name__", "")
        for view in sly.VIEWS
        if guard("", "view", reader.read(view, facts).findings).does in ("nothing", "identifies")
    ]
    assert missed == []
    assert len(sly.VIEWS) == 82
