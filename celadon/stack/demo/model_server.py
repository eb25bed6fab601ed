"""A small model server that speaks the OpenAI API, so that any OpenAI client works against the demonstration.

It generates words instead of running a model: one word is one token, the first at once and each further one after the
token interval. The revision's label stands in the answer's text, in its ``model`` and ``system_fingerprint`` fields and
in the header ``x-model-revision``. Where it gets a port for gRPC it serves that, too. It imports little, because six of
these start while the demonstration runs.
"""

import argparse
import asyncio
import itertools
import json
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiohttp import ClientConnectionResetError, web
from aiohttp.typedefs import Handler

MODEL: Final = "celadon-demo"
REVISION_HEADER: Final = "x-model-revision"
DEFAULT_MAX_TOKENS: Final = 16
MAX_TOKENS: Final = 4096
KEEP_ALIVE_SECONDS: Final = 75.0
"""Longer than the four seconds after which routers close an idle connection, so that the router closes it first."""

WATCH_INTERVAL_SECONDS: Final = 1.0

WORDS: Final = ("fires", "clay", "under", "a", "glaze", "of", "pale", "jade", "and", "waits", "for", "the", "kiln")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What one replica serves and how fast; durations in seconds."""

    revision_label: str
    load_seconds: float
    token_interval_seconds: float


@dataclass(frozen=True, slots=True)
class Completion:
    """A checked request for a chat completion."""

    prompt_tokens: int
    max_tokens: int
    stream: bool
    include_usage: bool


class RefusedRequestError(Exception):
    """A request that the API does not accept; carries what the client is told."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        """Describe the refusal as the OpenAI API does: HTTP status, parameter and code."""
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code


class ModelServer:
    """One replica of one revision: loads for some seconds, then answers chat completions."""

    def __init__(self, options: ServerOptions) -> None:
        """Prepare a replica; its loading time begins now."""
        self._options = options
        self._ready_at = time.monotonic() + options.load_seconds
        self._model = f"{MODEL}-{options.revision_label}"
        self._created = int(time.time())

    @property
    def revision_label(self) -> str:
        """What its answers say."""
        return self._options.revision_label

    def application(self) -> web.Application:
        """Return the HTTP application."""
        application = web.Application(middlewares=[self._describe_errors])
        application.add_routes(
            [
                web.get("/health", self._health),
                web.get("/v1/models", self._list_models),
                web.get("/v1/models/{model}", self._show_model),
                web.post("/v1/chat/completions", self._complete),
            ],
        )
        return application

    @web.middleware
    async def _describe_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RefusedRequestError as refusal:
            return self._error(refusal)
        except web.HTTPException as error:
            message = f"{request.method} {request.path}: {error.reason}"
            return self._error(RefusedRequestError(message, status=error.status))

    async def _health(self, _request: web.Request) -> web.Response:
        remaining = self._ready_at - time.monotonic()
        if remaining > 0:
            return self._json({"status": "loading", "ready_in_seconds": round(remaining, 1)}, status=503)
        return self._json({"status": "ok", "revision": self._options.revision_label})

    async def _list_models(self, _request: web.Request) -> web.Response:
        self._require_loaded()
        return self._json({"object": "list", "data": [self._describe_model(name) for name in self._names()]})

    async def _show_model(self, request: web.Request) -> web.Response:
        self._require_loaded()
        name = request.match_info["model"]
        self._require_model(name)
        return self._json(self._describe_model(name))

    async def generate(self, count: int) -> str | None:
        """Return so many words, as slowly as they are generated; ``None`` while the model loads."""
        if time.monotonic() < self._ready_at:
            return None
        words = "".join(self._words(count))
        await asyncio.sleep((count - 1) * self._options.token_interval_seconds)
        return words

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self._require_loaded()
        completion = self._parse(await request.read())
        if completion.stream:
            return await self._stream(request, completion)
        words = await self.generate(completion.max_tokens)
        return self._json(
            {
                **self._envelope("chat.completion"),
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": words, "refusal": None},
                        "logprobs": None,
                        "finish_reason": "length",
                    },
                ],
                "usage": self._usage(completion),
            },
        )

    async def _stream(self, request: web.Request, completion: Completion) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                REVISION_HEADER: self._options.revision_label,
            },
        )
        envelope = self._envelope("chat.completion.chunk")
        await response.prepare(request)
        begun = time.monotonic()
        try:
            for position, word in enumerate(self._words(completion.max_tokens)):
                # Paced from the beginning, so that a busy machine does not make streams longer.
                await asyncio.sleep(begun + position * self._options.token_interval_seconds - time.monotonic())
                role = {"role": "assistant"} if position == 0 else {}
                await response.write(self._event(envelope, {**role, "content": word}, finish_reason=None))
            await response.write(self._event(envelope, {}, finish_reason="length"))
            if completion.include_usage:
                usage = {**envelope, "choices": [], "usage": self._usage(completion)}
                await response.write(f"data: {json.dumps(usage)}\n\n".encode())
            await response.write(b"data: [DONE]\n\n")
            await response.write_eof()
        except ClientConnectionResetError:
            # The client left, which is its right: there is nobody to tell and nothing to undo.
            return response
        return response

    def _parse(self, body: bytes) -> Completion:
        try:
            payload = json.loads(body)
        except ValueError as error:
            raise RefusedRequestError(f"the body is no JSON: {error}") from error
        if not isinstance(payload, dict):
            raise RefusedRequestError("the body must be a JSON object")
        self._require_model(payload.get("model"))
        messages = payload.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
            raise RefusedRequestError("'messages' must be a list with at least one message", param="messages")
        limit = payload.get("max_completion_tokens") or payload.get("max_tokens") or DEFAULT_MAX_TOKENS
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_TOKENS:
            raise RefusedRequestError(f"'max_tokens' must be from 1 to {MAX_TOKENS}", param="max_tokens")
        stream = payload.get("stream") or False
        if not isinstance(stream, bool):
            raise RefusedRequestError("'stream' must be true or false", param="stream")
        options = payload.get("stream_options") or {}
        if not isinstance(options, dict):
            raise RefusedRequestError("'stream_options' must be an object", param="stream_options")
        return Completion(
            prompt_tokens=sum(len(str(message.get("content", "")).split()) for message in messages),
            max_tokens=limit,
            stream=stream,
            include_usage=options.get("include_usage") is True,
        )

    def _require_loaded(self) -> None:
        if time.monotonic() < self._ready_at:
            raise RefusedRequestError("the model is still loading", status=503, code="model_loading")

    def _require_model(self, name: object) -> None:
        if name not in self._names():
            available = " and ".join(self._names())
            raise RefusedRequestError(
                f"there is no model {name!r} here: use {available}",
                status=404,
                param="model",
                code="model_not_found",
            )

    def _names(self) -> tuple[str, str]:
        return (MODEL, self._model)

    def _describe_model(self, name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "celadon"}

    def _words(self, count: int) -> Iterator[str]:
        text = itertools.chain((self._options.revision_label,), (f" {word}" for word in itertools.cycle(WORDS)))
        return itertools.islice(text, count)

    def _envelope(self, kind: str) -> dict[str, object]:
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
            "model": self._model,
            "system_fingerprint": self._options.revision_label,
        }

    @staticmethod
    def _usage(completion: Completion) -> dict[str, int]:
        return {
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.max_tokens,
            "total_tokens": completion.prompt_tokens + completion.max_tokens,
        }

    @staticmethod
    def _event(envelope: dict[str, object], delta: dict[str, str], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return f"data: {json.dumps({**envelope, 'choices': [choice]})}\n\n".encode()

    def _error(self, refusal: RefusedRequestError) -> web.Response:
        kind = "invalid_request_error" if refusal.status < web.HTTPInternalServerError.status_code else "server_error"
        body = {"message": str(refusal), "type": kind, "param": refusal.param, "code": refusal.code}
        return self._json({"error": body}, status=refusal.status)

    def _json(self, body: dict[str, object], *, status: int = 200) -> web.Response:
        return web.Response(
            body=json.dumps(body).encode(),
            status=status,
            content_type="application/json",
            headers={REVISION_HEADER: self._options.revision_label},
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then take no new connection and finish what runs."""
    parser = argparse.ArgumentParser(prog="model_server", description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, help="where gRPC is served, too")
    parser.add_argument("--revision-label", required=True, help="what the answers say, such as r2")
    parser.add_argument("--load-seconds", type=_seconds, default=0.0, help="how long /health answers 503")
    parser.add_argument("--token-interval-seconds", type=_seconds, default=0.05, help="the pause between two tokens")
    parser.add_argument("--while-process", type=int, help="end when the process of this id has ended")
    parser.add_argument("--grace-seconds", type=_seconds, default=30.0, help="how long running requests may still run")
    options = parser.parse_args(arguments)
    server = ModelServer(
        ServerOptions(
            revision_label=options.revision_label,
            load_seconds=options.load_seconds,
            token_interval_seconds=options.token_interval_seconds,
        ),
    )
    application = server.application()
    if options.grpc_port is not None:
        grpc_address = f"{options.host}:{options.grpc_port}"
        application.cleanup_ctx.append(partial(_with_grpc, server, grpc_address, options.grace_seconds))
    if options.while_process is not None:
        application.cleanup_ctx.append(partial(_end_with, options.while_process))
    web.run_app(
        application,
        host=options.host,
        port=options.port,
        shutdown_timeout=options.grace_seconds,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        access_log=None,
    )


async def _with_grpc(
    server: ModelServer, address: str, grace_seconds: float, _application: web.Application
) -> AsyncIterator[None]:
    """Serve gRPC as long as HTTP is served."""
    # It takes a while to load, and most replicas need none of it.
    from celadon.stack.demo.grpc_model import serving_grpc  # noqa: PLC0415

    async with serving_grpc(address, server.revision_label, server.generate, grace_seconds):
        yield


async def _end_with(process: int, _application: web.Application) -> AsyncIterator[None]:
    """End this server when ``process`` has ended, which may have had no chance to stop it."""

    async def watch() -> None:
        while _runs(process):  # noqa: ASYNC110 - nothing tells when a process that is no child ends
            await asyncio.sleep(WATCH_INTERVAL_SECONDS)
        signal.raise_signal(signal.SIGTERM)

    watching = asyncio.create_task(watch())
    yield
    watching.cancel()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It is another user's, so it runs.
        return True
    return True


def _seconds(text: str) -> float:
    """Parse a number of seconds that is not negative."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no duration: use seconds, zero or more")
    return value


if __name__ == "__main__":
    main()
