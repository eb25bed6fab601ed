"""One record for each request of the load, as it stands in ``requests.jsonl``.

Times are nanoseconds of the machine's monotonic clock, which all its processes share.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class RequestKind(StrEnum):
    """What was asked for."""

    PLAIN = "plain"
    STREAM = "stream"
    CALL = "call"
    """Of gRPC."""


class RequestResult(StrEnum):
    """What became of a request."""

    ANSWERED = "answered"
    FAILED = "failed"
    TRUNCATED = "truncated"
    """A stream that began and ended without ``[DONE]``."""


class RequestRecord(BaseModel):
    """One request and what became of it; written once, when it has ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    kind: RequestKind
    result: RequestResult
    scheduled_ns: int
    sent_ns: int
    """When its headers were written; when it was tried, if they never were."""
    first_byte_ns: int | None
    end_ns: int
    status: int | None
    """The HTTP status, none when no answer began; a call of gRPC that failed has none."""
    revision: str | None
    """The label of the revision that answered."""
    late: bool
    error: str | None


def read_records(path: Path) -> Iterator[RequestRecord]:
    """Yield the records of a file, in the order in which the requests ended.

    Raises ``OSError`` when the file cannot be read and ``pydantic.ValidationError`` for a line that is no record.
    """
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield RequestRecord.model_validate_json(line)
