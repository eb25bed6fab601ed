"""Answers of REST in the words of REST: what they tell people to do names requests, not command lines.

The command line reads the same answers, and is told command lines.
"""

import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from functools import lru_cache
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection

from celadon.api.authentication import is_command_line
from celadon.api.problems import Problem, problem_at
from celadon.service.door_words import Door, answer_at

_LINE: Final = "celadon "
"""What stands in every command line: an answer without it stays as it is."""
_DATA: Final = "data: "


class RestRoute(APIRoute):
    """An operation whose answer is in the words of the door of whoever asks."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler with its answers in those words."""
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            response = await handle(request)
            is_json = response.headers.get("content-type") == "application/json"
            if not is_json or is_command_line(request) or _LINE.encode() not in bytes(response.body):
                return response
            headers = {name: value for name, value in response.headers.items() if name != "content-length"}
            return Response(_reworded(bytes(response.body)), response.status_code, headers)

        return told


def problem_for(request: HTTPConnection, problem: Problem) -> Problem:
    """Return a problem in the words of the door of whoever asks."""
    if is_command_line(request):
        return problem
    is_graphql = request.url.path.startswith("/graphql")
    return problem_at(Door.GRAPHQL if is_graphql else Door.REST, problem)


async def events_for(request: HTTPConnection, events: AsyncGenerator[str]) -> AsyncGenerator[str]:
    """Yield server-sent events in the words of the door of whoever follows."""
    said = str if is_command_line(request) else _event
    async with aclosing(events):
        async for event in events:
            yield said(event)


@lru_cache(maxsize=32)
def _event(event: str) -> str:
    """Return an event in the words of REST; many followers get the same one."""
    if _LINE not in event:
        return event
    return "\n".join(_data(line) if line.startswith(_DATA) else line for line in event.split("\n"))


def _data(line: str) -> str:
    return f"{_DATA}{_reworded(line.removeprefix(_DATA))}"


def _reworded(answer: str | bytes) -> str:
    return json.dumps(answer_at(Door.REST, json.loads(answer)), ensure_ascii=False, separators=(",", ":"))
