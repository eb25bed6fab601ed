"""How a rollout may go: the policy, its defaults, and how its layers are merged.

Defaults live here only: the first activity of a rollout resolves them once, and the resolved policy travels in the
workflow's history, so that a changed default never changes a rollout that runs.
"""

import math
import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from celadon.domain.language.approval import ApprovalRule
from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.durations import Duration, format_duration
from celadon.domain.language.limits import quoted
from celadon.domain.language.notification import NotifyRules
from celadon.domain.language.utc_moment import UtcMoment
from celadon.domain.language.window import Windows

LATER_KEYS: Final = frozenset(
    {
        "pre_promotion",
        "post_promotion",
        "shadow_percent",
    },
)
"""Keys of the policy that this version does not carry out, and therefore refuses by name."""

MOST_REPLICAS: Final = 10_000
"""How many replicas a deployment may have at most."""

SHORTEST_RETENTION: Final = timedelta(hours=1)
"""Nothing younger is ever pruned; signed messages and starts lapse sooner, so that none of them counts twice."""

_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_WHOLE: Final = 100.0
_SMALLEST_SHARE: Final = 1e-12
"""Any smaller share asks for one healthy replica, too."""
DEPLOYMENT_KEYS: Final = ("revision_history_limit", "event_retention")
"""Keys of what a deployment keeps, which no single rollout changes."""
_NOT_GIVEN: Final = object()


class OnDeadline(StrEnum):
    """What happens at ``promotion_deadline``."""

    ABORT = "abort"
    PROMOTE = "promote"
    HOLD = "hold"


class OnNewRevision(StrEnum):
    """What becomes of a request that comes while a rollout is under way."""

    REJECT = "reject"
    """It is refused."""
    REPLACE = "replace"
    """The rollout under way ends for it: before the switch green is closed, after it the bake ends."""
    QUEUE = "queue"
    """It waits for the end of the rollout under way."""


class OnNoRoom(StrEnum):
    """What happens when ``max_total_replicas`` leaves no room for green."""

    REFUSE = "refuse"
    WAIT = "wait"


def _parse_min_healthy(value: object) -> object:
    """Refuse shares outside (0 %, 100 %] and counts below 1."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        # Pydantic turns a ValueError into a refusal, a TypeError goes through.
        raise ValueError(f"min_healthy is a count (2) or a share ('80%'), not {quoted(value)}")
    if isinstance(value, int):
        if value < 1:
            raise ValueError("min_healthy is at least 1: a rollout never switches to replicas that nobody saw healthy")
        return value
    match = _PERCENT.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"min_healthy is a count (2) or a share ('80%'), not {quoted(value)}")
    share = float(match[1])
    if not 0 < share <= _WHOLE:
        raise ValueError(f"min_healthy is a share above 0% and up to 100%, not {quoted(value)}")
    # However it was written, it is kept short: a policy travels with every step.
    return f"{max(share, _SMALLEST_SHARE):.12f}".rstrip("0").rstrip(".") + "%"


MinHealthy = Annotated[int | str, BeforeValidator(_parse_min_healthy)]


class RollbackWindow(StrictModel):
    """How far back a rollback needs no gate."""

    revisions: Annotated[int, Field(ge=0, le=100)] = 3
    """How many revisions back, in the order in which they were live; 0 for none."""
    age: Duration = timedelta(hours=24)
    """How long ago traffic may have left the revision."""


class BlueGreenPolicy(StrictModel):
    """All that a rollout is told about how it may go."""

    later_keys = LATER_KEYS

    auto_promote: bool = False
    """Whether a timer promotes green; else a person does."""
    promote_after: Duration = timedelta(0)
    """Counted from the moment all of green was verified; starts anew when green regresses."""
    promote_at: UtcMoment | None = None
    """The moment, with its zone, before which no timer promotes; the delay may end later. One that is past holds up
    nothing."""
    windows: Windows = ()
    """The hours of the week in which a timer switches, or everyone does; without any, there is no such bound."""
    promotion_deadline: Duration | None = None
    """Counted from the first moment that green waited for its promotion."""
    on_deadline: OnDeadline = OnDeadline.ABORT
    """What happens then: abort, promote, or hold until a person decides."""
    approvals: ApprovalRule | None = None
    """How many different verified people must promote, such as {count: 2, exclude_requester: true}; timers are bound
    too. Without it the first promotion switches."""
    preview_replicas: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] | None = None
    """How many replicas green has until its promotion is decided; then it grows to all of them, is verified again and
    switches. Without it green has all of them from the beginning, and so has one that goes live without a gate."""
    max_total_replicas: Annotated[int, Field(ge=1, le=2 * MOST_REPLICAS)] | None = None
    """How many replicas of all its sets together the deployment may have; those that drain count until they have ended.
    The way back to blue is never refused for it: blue grows as room comes."""
    on_no_room: OnNoRoom = OnNoRoom.REFUSE
    """What happens when there is no room for green, or for its growth: the start or the promotion is refused, or the
    rollout waits for room."""
    min_healthy: MinHealthy = "100%"
    """How many replicas of green must be healthy for a switch: a count such as 2, or a share such as 80%."""
    provisioning_deadline: Duration = timedelta(minutes=10)
    """For provisioning and verifying together, from the opening of green; a crash loop does not extend it."""
    max_replacements: Annotated[int, Field(ge=0, le=1000)] = 3
    """How many failed replicas of green are replaced before green has failed."""
    max_regressions: Annotated[int, Field(ge=0, le=100)] = 10
    """How often a verified green may get sick before no timer promotes it any more and a person must decide."""
    bake: Duration = timedelta(minutes=5)
    """How long blue stays warm after the switch, so that going back is one transaction."""
    failover: bool = True
    """Whether, during the bake, routers send to blue what no replica of green can take; nothing else goes to blue."""
    failover_rollback: Duration | None = timedelta(seconds=10)
    """For how long green may have no healthy replica during the bake before the rollout goes back to blue by itself;
    without it a person decides."""
    drain_timeout: Duration = timedelta(minutes=15)
    """How long running requests may last on replicas that are to stop, before they are cut."""
    router_ack_timeout: Duration = timedelta(seconds=30)
    """How long a switch waits for the routers' acknowledgements before it names those that are silent."""
    rollback_window: RollbackWindow = RollbackWindow()
    """How far back `celadon rollback` needs no gate when no rollout is under way; green must be healthy all the
    same."""
    revision_history_limit: Annotated[int, Field(ge=1, le=10_000)] = 10
    """How many revisions are kept however old they are; an older one only while something still names it."""
    event_retention: Duration = timedelta(days=90)
    """How long rollouts that have ended are kept with their audit log, and replicas that have ended; at least 1h."""
    on_new_revision: OnNewRevision = OnNewRevision.REJECT
    """What becomes of this request when a rollout is under way: reject refuses it; with replace the other one ends for
    it, and with queue it waits for the other's end. One request waits at a time; a newer one takes its place."""
    notify: NotifyRules = ()
    """Which targets are told of which events; a target is added with 'celadon notify target add'."""

    @model_validator(mode="after")
    def _says_nothing_in_vain(self) -> Self:
        if self.promote_after and "auto_promote" in self.model_fields_set and not self.auto_promote:
            raise ValueError("promote_after has no effect with auto_promote: false; remove one of the two")
        if self.promote_at is not None and "auto_promote" in self.model_fields_set and not self.auto_promote:
            raise ValueError("promote_at has no effect with auto_promote: false; remove one of the two")
        if not self.router_ack_timeout:
            raise ValueError("router_ack_timeout is above 0s")
        if self.event_retention < SHORTEST_RETENTION:
            raise ValueError(f"event_retention is at least {format_duration(SHORTEST_RETENTION)}")
        return self

    @model_serializer(mode="wrap")
    def _only_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write only the keys that were given, so that a layer stays a layer wherever it travels."""
        written: dict[str, Any] = serialize(self)
        return {name: value for name, value in written.items() if name in self.model_fields_set}


def resolve_policy(*layers: BlueGreenPolicy | None) -> BlueGreenPolicy:
    """Merge layers, weakest first, over the defaults; the last layer that gives a key wins. The result gives all keys.

    The delay and the moment of a weaker layer lapse when a stronger one switches automatic promotion off, what happens
    at a deadline lapses when a stronger one takes the deadline away, and what happens without room when a stronger one
    takes the bound away.

    Raises:
        ValueError: the merged policy says something that has no effect.

    """
    merged: dict[str, Any] = {}
    for layer in layers:
        if layer is None:
            continue
        keys = {name: getattr(layer, name) for name in layer.model_fields_set}
        if keys.get("auto_promote") is False:
            merged.pop("promote_after", None)
            merged.pop("promote_at", None)
        if keys.get("promotion_deadline", _NOT_GIVEN) is None:
            merged.pop("on_deadline", None)
        if keys.get("max_total_replicas", _NOT_GIVEN) is None:
            merged.pop("on_no_room", None)
        merged |= keys
    if merged.get("promote_after") and not merged.get("auto_promote"):
        raise ValueError("promote_after has no effect without auto_promote: true; add it or remove the delay")
    if merged.get("promote_at") is not None and not merged.get("auto_promote"):
        raise ValueError("promote_at has no effect without auto_promote: true; add it or remove the moment")
    if "on_deadline" in merged and merged.get("promotion_deadline") is None:
        raise ValueError("on_deadline has no effect without promotion_deadline; add it or remove on_deadline")
    if "on_no_room" in merged and merged.get("max_total_replicas") is None:
        raise ValueError("on_no_room has no effect without max_total_replicas; add it or remove on_no_room")
    defaults = BlueGreenPolicy()
    return BlueGreenPolicy(**{name: getattr(defaults, name) for name in BlueGreenPolicy.model_fields} | merged)


def required_healthy(replicas: int, min_healthy: int | str) -> int:
    """Return how many of ``replicas`` must be healthy: what a share asks for, rounded up; at least one of any."""
    if isinstance(min_healthy, int):
        return min(min_healthy, replicas)
    share = float(min_healthy.rstrip("% ")) / _WHOLE
    return min(replicas, max(1, math.ceil(share * replicas - 1e-9)))
