"""Approvals of a promotion: how many a policy asks for, and one that somebody has given."""

from datetime import datetime
from typing import Annotated, Final

from pydantic import Field

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.states import Channel

MOST_APPROVALS: Final = 10
"""Approvals travel in a rollout's state and in its answers."""


class ApprovalRule(StrictModel):
    """How many people must approve a switch to green."""

    count: Annotated[int, Field(ge=1, le=MOST_APPROVALS)]
    """How many different verified people must promote before traffic switches; the last of them switches."""
    exclude_requester: bool = False
    """Whether the approval of who requested the rollout does not count; the rollout's start must then be signed."""


class Approval(Record):
    """A promotion that counts as the approval of one verified person."""

    by: str
    """Who approved."""
    issuer: str
    """Who vouches for the name; the same name by another issuer is another person."""
    door: Channel
    """Through which door the promotion came in."""
    at: datetime
    """When it was recorded, by the database's clock."""
    force: bool = False
    """Whether it was forced: a switch is forced only when every approval that it counts is."""
