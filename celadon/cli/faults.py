"""What a command raises when it cannot do what it was asked: the text is a sentence for people."""

from http import HTTPStatus
from typing import Final


class CommandError(Exception):
    """A command cannot do what it was asked; the text is the whole sentence."""


class OutageError(CommandError):
    """A part of Celadon is away, and may come back: whoever waits for something waits on."""


class ApiError(CommandError):
    """What the API refuses at its door, before anybody is asked."""

    def __init__(self, code: str, message: str, next_step: str, *, status: int, retry_after: float = 0) -> None:
        """Say what and what to do; ``retry_after`` is in seconds, 0 when waiting changes nothing."""
        super().__init__(f"{message}; {next_step}" if next_step else message)
        self.code = code
        self.message = message
        self.next_step = next_step
        self.status = status
        self.retry_after = retry_after

    @property
    def may_pass(self) -> bool:
        """Whether the same request may be answered later."""
        return self.status == HTTPStatus.TOO_MANY_REQUESTS or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


OUTAGE_STATUSES: Final = frozenset(
    {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT},
)
"""What a proxy answers, or the API itself, while something behind it is away."""


def is_outage(error: Exception) -> bool:
    """Whether an error may pass by itself, without anybody who changes anything."""
    return isinstance(error, OutageError) or (isinstance(error, ApiError) and error.may_pass)
