"""The routes: page, predictions, model card, health and metrics."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gluon_resnet.card import ModelCard
from gluon_resnet.errors import ImageError
from gluon_resnet.serving.batcher import SMALL, Batcher, Measured, TooManyPixels
from gluon_resnet.serving.bodies import Bodies
from gluon_resnet.serving.clients import client_of
from gluon_resnet.serving.direct import Direct
from gluon_resnet.serving.guard import Guard, asked, refused
from gluon_resnet.serving.hosts import Hosts
from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.log import log
from gluon_resnet.serving.metrics import Metrics
from gluon_resnet.serving.page import page_response
from gluon_resnet.serving.predictions import DEFAULT_TOP_K, answer, parse_top_k
from gluon_resnet.serving.public_card import public_card
from gluon_resnet.serving.refusal import Refusal, too_late
from gluon_resnet.serving.timer import deadline
from gluon_resnet.serving.turns import Owner
from gluon_resnet.serving.uploads import SINGLE, check_type, images_of
from gluon_resnet.serving.watched import Watched


class Service:
    """Answers requests. For use in one event loop."""

    def __init__(self, card: ModelCard, limits: Limits, metrics: Metrics, batcher: Batcher) -> None:
        self._card = card
        self._public_card = public_card(card)
        self._limits = limits
        self._metrics = metrics
        self._batcher = batcher
        self._bodies = Bodies(limits)
        self._asked = 0
        self._started = time.time()

    @contextlib.asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        """The lifespan of the server; work in progress ends before it does."""
        try:
            yield
        finally:
            self._batcher.close()

    async def page(self, _: Request) -> Response:
        return page_response()

    async def health(self, _: Request) -> Response:
        return JSONResponse(
            {
                "status": "ok",
                "model": self._card.network,
                "classes": len(self._card.classes),
                "seconds": round(time.time() - self._started, 1),
            }
        )

    async def model(self, _: Request) -> Response:
        return JSONResponse(self._public_card)

    async def metrics(self, _: Request) -> Response:
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def predict(self, request: Request) -> Response:
        # Whatever can be refused without reading the body is refused first.
        asked = request.query_params
        # The second name is that of earlier versions.
        top_k = parse_top_k(asked.get("top_k", asked.get("topk", str(DEFAULT_TOP_K))))
        content_type = request.headers.get("content-type", "")
        check_type(content_type)
        self._asked += 1
        owner = Owner(client_of(request.scope), self._asked)
        self._batcher.require_room(owner.client)
        async with self._bodies.read(request) as body:
            with deadline(self._limits.deadline, too_late):
                results = await self._results(owner, content_type, body)
        for result in results:
            if isinstance(result, ImageError):
                self._metrics.refused("pixels" if isinstance(result, TooManyPixels) else "image")
            else:
                self._metrics.images.inc()
        return JSONResponse(answer(self._card, results, top_k))

    async def _results(self, owner: Owner, content_type: str, body: bytes) -> Any:
        if len(body) <= SMALL and check_type(content_type) in SINGLE:
            images = self._images(content_type, body)
        else:
            images = await self._batcher.in_decoder(owner, self._images, content_type, body)
        return await self._batcher.logits(owner, images)

    def _images(self, content_type: str, body: bytes) -> list[Measured]:
        """The images in a body; runs in a thread, since it takes time in proportion to the body's size."""
        return self._batcher.measured(images_of(content_type, body, self._limits.images))

    async def refusal(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return refused(request.scope, error, self._metrics)

    async def http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        log.warning("%d %s: %s", error.status_code, asked(request.scope), error.detail)
        message = f"{request.scope['path'][:80]}: {error.detail}"
        return JSONResponse({"error": message}, error.status_code, error.headers)

    async def failed(self, request: Request, error: Exception) -> Response:
        """The answer to a failed request, from the handler that Starlette would choose."""
        handle = self.refusal if isinstance(error, Refusal) else self.internal_error
        return await handle(request, error)

    async def internal_error(self, _request: Request, _error: Exception) -> Response:
        self._metrics.refused("internal")  # Starlette raises the error again, and the guard logs it
        return JSONResponse({"error": "the server failed; its log says why"}, 500)


def make_app(card: ModelCard, limits: Limits, metrics: Metrics, batcher: Batcher, hosts: Hosts) -> Watched:
    """The ASGI application that serves a batcher's network under the names of `hosts`."""
    service = Service(card, limits, metrics, batcher)
    routes = [
        Route("/", service.page),
        Route("/predict", service.predict, methods=["POST"]),
        Route("/model", service.model),
        Route("/health", service.health),
        Route("/metrics", service.metrics),
    ]
    origins = sorted(hosts.origins)
    app = Starlette(
        routes=routes,
        # Without this, pages that are allowed to ask could not read the answers.
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=origins,
                allow_methods=["GET", "POST"],
                allow_headers=["Content-Type"],
            )
        ]
        if origins
        else [],
        lifespan=service.running,
        exception_handlers={
            Refusal: service.refusal,
            HTTPException: service.http_error,
            Exception: service.internal_error,
        },
    )
    app.router.redirect_slashes = False
    # Starlette's own routing takes as long as everything else that Python does for a request.
    direct = app if origins else Direct(app, "/predict", service.predict, service.failed)
    return Watched(Guard(direct, hosts, metrics), {route.path for route in routes}, metrics)
