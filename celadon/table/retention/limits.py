"""How long a deployment keeps what was: its own policy, or what an operator says for once."""

from datetime import datetime, timedelta
from typing import Final

from celadon.domain.language.base_models import Record
from celadon.domain.language.policy import BlueGreenPolicy

YOUNG: Final = timedelta(days=1)
"""A revision that was registered since may be waiting for its first rollout."""


class Retention(Record):
    """How long a deployment keeps what was."""

    age: timedelta
    """Of ended rollouts and all that belongs to them."""
    revisions: int
    """How many of the newest revisions stay, however old they are."""
    promoted: int
    """How many of the newest promoted rollouts stay, however old they are: a rollback may go back to one of them."""


class Doomed(Record):
    """What of a deployment has had its time, at one moment of the database's clock."""

    deployment: str
    before: datetime
    """What ended, or was written, before this moment."""
    young: datetime
    """Revisions that were registered before this moment are not young any more."""
    retention: Retention


def retention_of(policy: BlueGreenPolicy, age: timedelta | None = None) -> Retention:
    """Return what a resolved policy says.

    Args:
        policy: resolved, all keys given.
        age: in place of the policy's ``event_retention``, when an operator says so.

    """
    return Retention(
        age=policy.event_retention if age is None else age,
        revisions=policy.revision_history_limit,
        promoted=max(policy.revision_history_limit, policy.rollback_window.revisions + 1),
    )
