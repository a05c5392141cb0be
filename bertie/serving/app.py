"""The web app of a server: the routes of all protocols, health, metrics and the list of routes, behind the guard."""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bertie import progress, registry
from bertie.errors import missing_extra
from bertie.serving.described import Responses, like
from bertie.serving.guard import App, Form, Guard, Rules, Scope, headers_of
from bertie.serving.hub import Hub
from bertie.serving.limits import RequestError
from bertie.serving.metrics import CONTENT_TYPE, Metrics
from bertie.version import VERSION

try:
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse, Response
    from starlette.exceptions import HTTPException
except ModuleNotFoundError as error:
    raise missing_extra("fastapi", "serve", "to serve a model") from error

PROTOCOLS = "serving/protocols"
_KINDS = {404: "no_such_route", 405: "wrong_method"}
_ADVICE = {404: "there is no such route; GET /docs lists all", 405: "the route takes another method; see GET /docs"}


def build(hub: Hub, rules: Rules, metrics: Metrics | None = None, *, protocols: tuple[str, ...] | None = None) -> Guard:
    """Make the app of a server.

    Args:
        hub: the models.
        rules: who may ask, and what.
        metrics: the figures to count in.
        protocols: names of the protocols to speak. None: all.
    """
    metrics = metrics or Metrics()
    for model in hub.models.values():
        model.observe = metrics.observer
    app = FastAPI(
        title="bertie", version=VERSION, docs_url=None, redoc_url=None, openapi_url="/openapi.json", lifespan=_life(hub)
    )
    forms: list[tuple[Any, Form]] = []
    for name in registry.choices(PROTOCOLS) if protocols is None else protocols:
        protocol = registry.load(PROTOCOLS, name)
        router, form = protocol.router(hub), getattr(protocol, "refusal", RequestError.as_dict)
        app.include_router(router, tags=[name], responses=_refusals(form))
        forms += [(route.path_regex, form) for route in router.routes]
    _add_state(app, hub, metrics)
    app.exception_handler(RequestError)(_refused)
    app.exception_handler(HTTPException)(_not_found)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(Exception)(_bug)

    def count(scope: Scope, status: int, seconds: float, kind: str) -> None:
        route = getattr(scope.get("route"), "path", "none")
        metrics.requests.labels(route, str(status)).inc()
        metrics.seconds.labels(route).observe(seconds)
        if kind:
            metrics.failures.labels(kind).inc()

    def form_of(path: str) -> Form:
        return next((form for regex, form in forms if regex.match(path)), RequestError.as_dict)

    return Guard(_with_log(app), rules, count, form_of)


def _refusals(form: Form, **more: Any) -> Responses:
    """Describe the refusals of a form, by an example."""
    example = form(RequestError(400, "kind", "what is wrong, and what to do"))
    return like({**example, **more}, status="default", says="a refusal")


def _life(hub: Hub) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        """Compute once by each model before the first request, and answer the requests that wait at the end."""
        for name, is_ready in (await hub.is_ready()).items():
            if not is_ready:
                progress.warn(f"{name} doesn't answer yet; /ready says when it does")
        yield
        await asyncio.to_thread(hub.close, hub.limits.deadline)

    return life


def _add_state(app: FastAPI, hub: Hub, metrics: Metrics) -> None:
    """Add the routes that tell the state of the server."""
    refusals, status = _refusals(RequestError.as_dict), {"status": "ready"}

    @app.get("/live", tags=["state"], responses=refusals)
    async def live() -> dict[str, str]:
        """Tell that the process answers."""
        return {"status": "live"}

    @app.get(
        "/ready", tags=["state"], responses={**refusals, **like(status), **like(status, status=503, says="not ready")}
    )
    async def ready() -> Response:
        """Tell whether every model computes."""
        states = await hub.is_ready()
        status = "ready" if all(states.values()) else "not ready"
        return JSONResponse({"status": status}, 200 if all(states.values()) else 503)

    @app.get(
        "/metrics", tags=["state"], responses={**refusals, **like("", media="text/plain")}, response_class=Response
    )
    async def figures() -> Response:
        """Return the figures of the server as Prometheus reads them."""
        for name, model in hub.models.items():
            metrics.queue_tokens.labels(name).set(model.tokens)
            metrics.restarts.labels(name).set(model.restarts)
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.get(
        "/docs", tags=["state"], responses={**refusals, **like("", media="text/html")}, response_class=HTMLResponse
    )
    async def docs() -> Response:
        """List all routes, as a page that loads nothing."""
        rows = []
        for path, methods in app.openapi()["paths"].items():
            for method, facts in methods.items():
                says = facts.get("description") or facts.get("summary") or ""
                cells = (method.upper(), path, says.partition("\n\n")[0])
                rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
        page = f"<!doctype html><html lang=en><meta charset=utf-8><title>bertie</title><h1>bertie {VERSION}</h1>"
        page += (
            f"<p>All routes; <a href=openapi.json>openapi.json</a> has their forms.</p><table>{''.join(rows)}</table>"
        )
        return HTMLResponse(page, headers={"content-security-policy": "default-src 'none'"})


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    answer = request.scope["bertie.answer"]
    answer.kind = error.kind
    return JSONResponse(answer.form(error), error.status, headers_of(error))


def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _KINDS.get(error.status_code, "refused")
    answer = _refused(request, RequestError(error.status_code, kind, _ADVICE.get(error.status_code, str(error.detail))))
    answer.headers.update(error.headers or {})  # Allow, with the methods that the route takes
    return answer


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first.get("loc", ()))
    return _refused(request, RequestError(422, "wrong_payload", f"{where}: {first.get('msg', 'it is wrong')}"))


def _bug(request: Request, error: Exception) -> Response:
    return _refused(request, RequestError(500, "bug", "this is a bug in bertie; the server's log says more"))


def _with_log(app: App) -> App:
    """Return an app that writes unexpected errors to stderr; the client has got an answer without their text."""

    async def call(scope: Scope, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except Exception as error:
            if scope["type"] != "http":
                raise
            progress.warn(f"{scope['method']} {scope['path']!r:.200}: {type(error).__name__}: {error}")

    return call
