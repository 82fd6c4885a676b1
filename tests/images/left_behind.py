"""Runs inside an image: what of a request is still on objects that requests share, once it was answered.

With JSON on standard input: the ``module`` of the application; ``requests``, of which each may give its token
or an id of its answer a name, which later ones write as ``@name@``; ``marks``, the names that are looked for
at the end; ``tokens``, what Keystone says of each, where the service asks it. ``null`` among the requests
stands for the moment at which the service has warmed up: what is there then is shared by all that follow. It
prints, as JSON, the ``answers``, and where marks were ``left``: the class of the shared object, and its
attribute.
"""

from __future__ import annotations

import collections
import functools
import gc
import importlib
import json
import sys
import threading
import types

# Leaves, and what keeps nothing of a request: a cache of a pure function is keyed by what it was asked.
_LEAVES = (int, float, complex, bool, type(None), range, types.CodeType, types.FrameType, threading.local)
_PURE = (functools._lru_cache_wrapper,)


def places(roots, marks=(), shared=None):
    """The places of ``shared`` objects (their ids; by default all) from where a string with one of ``marks``
    is reached, beginning with ``roots``; and the ids of all objects that are."""
    seen, found = set(), set()
    waiting = collections.deque((root, name) for name, root in roots.items())
    while waiting:
        thing, place = waiting.popleft()
        # Not by isinstance, which asks proxies for their class, and outside of a request they have none.
        kind = type(thing)
        if issubclass(kind, (str, bytes)):
            text = thing if issubclass(kind, str) else thing.decode("latin-1")
            if any(mark in text for mark in marks):
                found.add(place)
            continue
        if issubclass(kind, (*_LEAVES, *_PURE)) or id(thing) in seen:
            continue
        seen.add(id(thing))
        if shared is None or id(thing) in shared:
            try:
                own = dict(vars(thing))
            except Exception:
                own = {}
            if not issubclass(kind, (types.ModuleType, types.FunctionType)):
                where = f"{kind.__module__}.{kind.__qualname__}"
                if issubclass(kind, type):
                    where = f"class {thing.__module__}.{thing.__qualname__}"
                waiting.extend((value, f"{where}.{name}") for name, value in own.items())
        waiting.extend((each, place) for each in gc.get_referents(thing))
    return sorted(found), seen


def modules():
    """All that a request can find without being given it."""
    return {
        f"module {name}": module
        for name, module in list(sys.modules.items())
        if name != "__main__" and module
    }


def main(given):
    name = given["module"]
    if given.get("tokens"):
        # Keystone is not asked: these are its answers.
        from keystonemiddleware.auth_token import _identity

        _identity.IdentityServer.verify_token = lambda self, token, **_: given["tokens"][token]
    import webob

    application = importlib.import_module(name).application
    answers, names, shared = [], {}, set()
    for each in given["requests"]:
        if each is None:
            gc.collect()
            _, shared = places({**modules(), "the application": application})
            continue
        text = json.dumps(each)
        for variable, value in names.items():
            text = text.replace(f"@{variable}@", value)
        asked = json.loads(text)
        request = webob.Request.blank(asked["path"], method=asked["method"], headers=asked["headers"])
        request.headers["Content-Type"] = asked.get("type", "application/json")
        if "body" in asked:
            body = asked["body"]
            request.body = (body if isinstance(body, str) else json.dumps(body)).encode()
        answer = request.get_response(application)
        answers.append([asked["method"], asked["path"], answer.status_int])
        # What later requests name, and what is looked for at the end.
        if "token" in asked:
            names[asked["token"]] = answer.headers["X-Subject-Token"]
        if "id" in asked:
            found = answer.json_body
            for key in asked["id"][1:]:
                found = found[key]
            names[asked["id"][0]] = found
    marks = [names.get(mark, mark) for mark in given["marks"]]
    del request, answer, names, asked, text, each
    given.clear()
    gc.collect()
    left, _ = places({**modules(), "the application": application}, marks, shared)
    return {"answers": answers, "left": left}


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
