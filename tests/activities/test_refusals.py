"""What Temporal is told when a step is refused, and when it fails."""

import pytest
from temporalio.exceptions import ApplicationError

from activities.refusals import refusals_are_final
from celadon.domain.language.errors import RefusalCode, refuse


def test_a_refusal_is_never_retried() -> None:
    with pytest.raises(ApplicationError) as raised, refusals_are_final():
        raise refuse(RefusalCode.NOT_OWNER, "rollout 7 no longer owns deployment chat", "nothing was changed")

    assert raised.value.non_retryable
    assert raised.value.type == "NOT_OWNER"
    assert raised.value.message == "rollout 7 no longer owns deployment chat; nothing was changed"


def test_a_failure_is_left_to_the_retry_policy() -> None:
    with pytest.raises(ConnectionError, match="the database is away"), refusals_are_final():
        raise ConnectionError("the database is away")
