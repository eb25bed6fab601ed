"""How long a keeper waits after what went wrong."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperTimes:
    """How long the parts of a keeper wait before they go on."""

    fault: timedelta = timedelta(seconds=1)
    """How long a part rests after an unexpected error."""
    refused: timedelta = timedelta(seconds=1)
    """When a set is looked at again after the table refused what a reading that is out of date suggested."""
    told_again: timedelta = timedelta(seconds=10)
    """How long another answer of a replica that stays unhealthy waits to be written down."""


USUAL_TIMES: Final = KeeperTimes()
