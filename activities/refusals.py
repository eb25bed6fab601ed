"""A refusal, as Temporal carries it: never retried, with its code as the error's type."""

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError

from celadon.domain.language.errors import RefusedError


@contextmanager
def refusals_are_final() -> Iterator[None]:
    """Turn a refusal into an error that is not retried; everything else is left to the retry policy."""
    try:
        yield
    except RefusedError as error:
        refusal = error.refusal
        raise ApplicationError(str(refusal), refusal, type=refusal.code.value, non_retryable=True) from error
