"""Who waits inside a rollout for the answer to a message."""

from typing import Generic, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from celadon.domain.errors import Refusal

AnswerT = TypeVar("AnswerT")
RequestT = TypeVar("RequestT")


class Ticket(Generic[AnswerT]):
    """One caller of an update; a signal has none, since nobody waits for it."""

    def __init__(self) -> None:
        """Begin without an answer."""
        self._answer: AnswerT | Refusal | None = None

    def give(self, answer: AnswerT | Refusal) -> None:
        """Answer once; a later answer changes nothing."""
        if self._answer is None:
            self._answer = answer

    async def wait(self) -> AnswerT:
        """Wait for the answer.

        Raises:
            ApplicationError: the message was refused; the type is the refusal's code.

        """
        await workflow.wait_condition(lambda: self._answer is not None)
        if self._answer is None or isinstance(self._answer, Refusal):
            raise refused(self._answer)
        return self._answer


class Pending(Generic[RequestT, AnswerT]):
    """A request that was recorded and is not decided yet, with whoever waits for its answer."""

    def __init__(self, request: RequestT, ticket: Ticket[AnswerT]) -> None:
        """Keep both."""
        self.request = request
        self.ticket = ticket


def refused(refusal: Refusal | None) -> ApplicationError:
    """Return a refusal as the error that a caller of Temporal sees; it is never retried."""
    if refusal is None:
        return ApplicationError("the rollout ended without an answer", type="ROLLOUT_ENDED", non_retryable=True)
    return ApplicationError(str(refusal), refusal, type=refusal.code.value, non_retryable=True)
