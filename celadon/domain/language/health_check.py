"""How a replica is probed."""

from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.durations import Duration

_SHORTEST_INTERVAL: Final = timedelta(milliseconds=100)
_SHORTEST_TIMEOUT: Final = timedelta(milliseconds=10)


class HealthCheck(StrictModel):
    """How a replica is probed. Without a ``path``, a replica is healthy when its port accepts connections."""

    path: Annotated[str, Field(pattern=r"^/[\x21-\x7e]*$", max_length=2000)] | None = None
    """HTTP GET of this path must answer 200 to 299; no path means a TCP connection."""
    interval: Duration = timedelta(seconds=1)
    """From the begin of one probe to the begin of the next, at least 100ms."""
    timeout: Duration = timedelta(seconds=1)
    """How long an answer may take, at least 10ms."""
    success_threshold: Annotated[int, Field(ge=1, le=100)] = 1
    """How many probes in a row must pass before a replica is healthy."""
    failure_threshold: Annotated[int, Field(ge=1, le=100)] = 3
    """How many probes in a row must fail before a replica is unhealthy."""

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.interval < _SHORTEST_INTERVAL:
            raise ValueError("interval is at least 100ms")
        if self.timeout < _SHORTEST_TIMEOUT:
            raise ValueError("timeout is at least 10ms")
        return self

    @property
    def kind(self) -> Literal["http", "tcp"]:
        """Which probe this is."""
        return "tcp" if self.path is None else "http"
