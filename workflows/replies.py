"""Who waits inside a rollout for the answer to a message."""

from typing import Final, Generic, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from celadon.domain.language.errors import Refusal, RefusalCode

AnswerT = TypeVar("AnswerT")
RequestT = TypeVar("RequestT")


class PendingReply(Generic[AnswerT]):
    """One caller of an update; a signal has none, since nobody waits for it."""

    def __init__(self) -> None:
        """Begin without an answer."""
        self._answer: AnswerT | Refusal | None = None

    def give(self, answer: AnswerT | Refusal) -> None:
        """Answer once; a later answer changes nothing."""
        if self._answer is None:
            self._answer = answer

    async def answer(self) -> AnswerT | Refusal:
        """Wait for the answer."""
        await workflow.wait_condition(lambda: self._answer is not None)
        return self._answer if self._answer is not None else _NO_ANSWER


class PendingRequest(Generic[RequestT, AnswerT]):
    """A request that was recorded and is not decided yet, with whoever waits for its answer."""

    def __init__(self, request: RequestT, reply: PendingReply[AnswerT]) -> None:
        """Keep both."""
        self.request = request
        self.reply = reply


def refused(refusal: Refusal) -> ApplicationError:
    """Return a refusal as the error that a caller of Temporal sees; it is never retried."""
    return ApplicationError(str(refusal), refusal, type=refusal.code.value, non_retryable=True)


_NO_ANSWER: Final = Refusal(code=RefusalCode.ROLLOUT_ENDED, message="the rollout ended without an answer")
