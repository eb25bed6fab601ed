"""Which replicas leave a set that has too many, and which of those come back: pure decisions.

A replica that leaves is drained: it gets no new request, and stops by the rule of every drain (``drain.py``). Until it
stops it can be taken back, which is quicker than a new replica and costs nothing.
"""

from collections.abc import Sequence
from typing import Final, assert_never

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import RouteId
from celadon.domain.language.states import RouteHealthStatus, RouteStatus

_FIT: Final = frozenset({RouteHealthStatus.HEALTHY, RouteHealthStatus.DEGRADED})


class SetMember(Record):
    """A replica of an open set that has not ended."""

    route: RouteId
    status: RouteStatus
    health: RouteHealthStatus
    leaves: bool
    """Whether it was told to leave."""

    @property
    def stays(self) -> bool:
        """Whether it counts for what its set wants."""
        return not self.leaves and self.status in {RouteStatus.PROVISIONING, RouteStatus.RUNNING}

    @property
    def serves(self) -> bool:
        """Whether routers may send it new requests."""
        return self.stays and self.status is RouteStatus.RUNNING


def who_leaves(members: Sequence[SetMember], wanted: int) -> tuple[RouteId, ...]:
    """Return the members, oldest first, that leave a set which wants fewer: those of least worth, the newest of them.

    One that has not started yet is worth least, so that a set with members that serve never loses all of these while
    it still wants some.
    """
    present = [member for member in members if member.stays]
    newest_first = present[::-1]
    surplus = max(0, len(present) - wanted)
    return tuple(member.route for member in sorted(newest_first, key=_worth)[:surplus])


def who_returns(members: Sequence[SetMember], wanted: int) -> tuple[RouteId, ...]:
    """Return the leaving members that a set takes back: when it has fewer than it wants, or unhealthy ones among them.

    An unhealthy one comes back only when nobody else would serve: else a new replica is the better one. A set that
    wants any never has leaving members alone, since routers send those nothing.
    """
    present = [member for member in members if member.stays]
    leaving = [member for member in members if member.leaves and member.status is RouteStatus.RUNNING]
    best_first = sorted(leaving, key=_worth, reverse=True)
    missing = max(0, wanted - len(present))
    returning = [one.route for one in best_first if one.health is not RouteHealthStatus.UNHEALTHY][:missing]
    if wanted:
        sick = sum(member.serves and member.health is RouteHealthStatus.UNHEALTHY for member in present)
        fit = [one.route for one in best_first if one.health in _FIT and one.route not in returning]
        returning += fit[:sick]
    served = returning or any(member.serves for member in present)
    if wanted and leaving and not served:
        return (best_first[0].route,)
    return tuple(returning)


def _worth(member: SetMember) -> int:
    """Return how much a set would lose with a member; unhealthy ones leave before those that nobody has checked."""
    if member.status is not RouteStatus.RUNNING:
        return 0
    match member.health:
        case RouteHealthStatus.UNHEALTHY:
            return 1
        case RouteHealthStatus.NOT_CHECKED:
            return 2
        case RouteHealthStatus.DEGRADED:
            return 3
        case RouteHealthStatus.HEALTHY:
            return 4
        case _ as unreachable:
            assert_never(unreachable)
