"""How a part that goes on after errors of the database tells of them: each kind once, until it is over."""

from collections.abc import Callable

import structlog

from celadon.table.core.outages import DatabaseTrouble, describe, trouble_of

log = structlog.get_logger()


def _count_nothing() -> None:
    """Count nowhere."""


class TroubleLog:
    """Tells and counts the errors of one part of a process, which alone fails."""

    def __init__(
        self,
        event: str,
        count_outage: Callable[[], None] = _count_nothing,
        count_fault: Callable[[], None] = _count_nothing,
    ) -> None:
        """Begin without trouble.

        Args:
            event: what is logged when the part fails.
            count_outage: called for each failure that waiting or a migration heals.
            count_fault: called for each other one.

        """
        self._event = event
        self._count_outage = count_outage
        self._count_fault = count_fault
        self._told: tuple[type[BaseException], str] | None = None

    @property
    def is_in_trouble(self) -> bool:
        """Whether the last attempt failed."""
        return self._told is not None

    def tell(self, error: Exception) -> None:
        """Log and count an error: an outage in one line, a fault with its trace; the same again is only counted."""
        trouble = trouble_of(error)
        (self._count_fault if trouble is DatabaseTrouble.FAULT else self._count_outage)()
        what = type(error), describe(error)
        if what == self._told:
            return
        self._told = what
        match trouble:
            case DatabaseTrouble.OUTAGE:
                log.warning(self._event, why=describe(error))
            case DatabaseTrouble.NOT_MIGRATED:
                log.error(self._event, why=describe(error))
            case DatabaseTrouble.FAULT:
                log.error(self._event, why=describe(error), exc_info=error)

    def is_over(self) -> None:
        """Note that an attempt has succeeded."""
        if self._told is not None:
            log.info("trouble_is_over", was=self._event)
        self._told = None
