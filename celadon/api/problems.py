"""Errors as HTTP tells them: RFC 9457 problem details, with a stable code and the next step."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from fastapi.responses import JSONResponse
from pydantic import Field

from celadon.domain.language.base_models import Record
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.service.door_words import Door, said_at

_C: Final = RefusalCode
_S: Final = HTTPStatus

MEDIA_TYPE: Final = "application/problem+json"
_LONGEST_DETAIL: Final = 2000
_UNREAD: Final = frozenset({_S.REQUEST_TIMEOUT, _S.REQUEST_ENTITY_TOO_LARGE})
"""Answered before the request was read: the rest of it is no next request."""

TYPE_PREFIX: Final = "urn:celadon:refusal:"

STATUS: Final[Mapping[RefusalCode, HTTPStatus]] = MappingProxyType(
    dict.fromkeys(RefusalCode, _S.CONFLICT)
    | dict.fromkeys(
        (
            _C.INVALID_PAYLOAD,
            _C.UNKNOWN_MESSAGE,
            _C.FORCE_NEEDS_REASON,
            _C.POLICY_CONFLICT,
            _C.PLAIN_SECRET,
            _C.TOO_MANY_REPLICAS,
            _C.NAME_RESERVED,
            _C.REQUEST_ID_REUSED,
        ),
        _S.UNPROCESSABLE_ENTITY,
    )
    | dict.fromkeys(
        (_C.NO_SUCH_DEPLOYMENT, _C.NO_SUCH_REVISION, _C.NO_SUCH_ROLLOUT, _C.NO_SUCH_ROUTER, _C.NO_SUCH_SCHEDULE),
        _S.NOT_FOUND,
    )
    | {_C.FORBIDDEN: _S.FORBIDDEN, _C.UNSIGNED: _S.FORBIDDEN, _C.NO_ANSWER: _S.GATEWAY_TIMEOUT},
)
"""What is not there is 404, what is wrong in itself 422, what does not fit how things stand 409."""


class Problem(Record):
    """The body of an answer that is an error."""

    type: str
    """A URN that names the kind of problem; it ends with the code."""
    title: str
    """The HTTP status in words."""
    status: int
    """The HTTP status."""
    detail: str
    """What was refused and why, for people."""
    code: str
    """A refusal's stable code, or one of the door's own."""
    next_step: str = Field(default="")
    """What to do next; empty when there is nothing to do."""


class HttpRefusal(Exception):  # noqa: N818 - a refusal, in the words of the house
    """What a door itself refuses, before anybody is asked."""

    def __init__(self, status: HTTPStatus, code: str, detail: str, next_step: str, retry_after: float = 0) -> None:
        """Say what, why and what to do; ``retry_after`` is in seconds, 0 when waiting changes nothing."""
        super().__init__(detail)
        self.problem = problem_with(status, code, detail, next_step)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """What HTTP says besides the problem."""
        headers = {"retry-after": str(max(1, round(self.retry_after)))} if self.retry_after else {}
        return headers | ({"connection": "close"} if self.problem.status in _UNREAD else {})


def clipped(text: str) -> str:
    """Return the beginning of a text: what was sent is told back, but not all of it."""
    return text if len(text) <= _LONGEST_DETAIL else f"{text[:_LONGEST_DETAIL]}…"


def problem_with(status: HTTPStatus, code: str, detail: str, next_step: str) -> Problem:
    """Return a problem whose kind is named after its code; of a long ``detail`` the beginning."""
    return Problem(
        type=f"{TYPE_PREFIX}{code.lower().replace('_', '-')}",
        title=status.phrase,
        status=status.value,
        detail=clipped(detail),
        code=code,
        next_step=next_step,
    )


def problem_of(refusal: Refusal) -> Problem:
    """Return a refusal as a problem."""
    return problem_with(STATUS[refusal.code], refusal.code.value, refusal.message, refusal.next_step)


def problem_at(door: Door, problem: Problem) -> Problem:
    """Return a problem in the words of a door."""
    texts = {"detail": said_at(door, problem.detail), "next_step": said_at(door, problem.next_step)}
    return problem.model_copy(update=texts)


def response_of(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a problem as an answer."""
    return JSONResponse(
        problem.model_dump(mode="json"),
        status_code=problem.status,
        headers=dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def table_away() -> HttpRefusal:
    """Return what is answered while Postgres is away."""
    return HttpRefusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "DATABASE_UNAVAILABLE",
        "Postgres does not answer",
        "try again with the same request id; /readyz says when it is back",
        retry_after=2,
    )


def not_migrated_yet() -> HttpRefusal:
    """Return what is answered when the database lacks what this version uses."""
    return HttpRefusal(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "NOT_MIGRATED",
        "the database lacks tables or columns of this version of Celadon",
        "tell an operator: run 'celadon db upgrade' of the API's version, or start the API of the version that has "
        "migrated it",
    )
