"""Who may do what: roles, verbs, and the one table that joins them."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """What a caller of the API is trusted with; a caller may have several."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"


class Verb(StrEnum):
    """What a caller of the API may ask for."""

    READ = "read"
    CREATE = "create"
    """Create a deployment, or add a revision to one."""
    START = "start"
    ABORT = "abort"
    SCALE = "scale"
    PROMOTE = "promote"
    FORCE = "force"
    """Promote before green is verified, or outside of windows for everyone."""
    ROLLBACK = "rollback"
    PAUSE = "pause"
    """Let a rollout's timers stand still, or run on."""
    FREEZE = "freeze"
    """Let nothing of a deployment be switched to green for a while."""
    UNFREEZE = "unfreeze"
    """End the freezes of a deployment, after which timers that are due promote."""
    FREEZE_ALL = "freeze_all"
    """Freeze all deployments, or end the freezes of all."""
    WAIVE_APPROVALS = "waive_approvals"
    """Start a rollout that needs fewer approvals than its deployment's own policy asks for."""
    SCHEDULE = "schedule"
    """Create or delete a schedule; what it asks for takes its own right too."""
    DELETE = "delete"
    LABEL = "label"
    """Change the labels by which tokens are scoped."""
    SET_HOSTS = "set_hosts"
    """Change a deployment's own host names, which moves the requests to them at once."""
    SET_TRAFFIC = "set_traffic"
    """Change how routers treat a deployment's requests, which counts for all of its clients at once."""
    SET_POLICY = "set_policy"
    """Change a deployment's own policy."""
    SET_DEFAULTS = "set_defaults"
    """Change the policy that the installation gives to deployments that say nothing themselves."""
    FORGET_ROUTER = "forget_router"
    SCRAPE = "scrape"
    """Read metrics of all deployments."""


_LOOKS: Final = frozenset({Verb.READ})
_OPERATES: Final = _LOOKS | {
    Verb.CREATE,
    Verb.START,
    Verb.ABORT,
    Verb.SCALE,
    Verb.PAUSE,
    Verb.FREEZE,
    Verb.SCHEDULE,
}
_APPROVES: Final = _LOOKS | {
    Verb.PROMOTE,
    Verb.FORCE,
    Verb.ROLLBACK,
    Verb.ABORT,
    Verb.PAUSE,
    Verb.FREEZE,
    Verb.UNFREEZE,
    Verb.SCHEDULE,
}

ALLOWED: Final[Mapping[Role, frozenset[Verb]]] = MappingProxyType(
    {
        Role.VIEWER: _LOOKS | {Verb.SCRAPE},
        Role.OPERATOR: _OPERATES | {Verb.SCRAPE},
        Role.APPROVER: _APPROVES | {Verb.SCRAPE},
        Role.ADMIN: frozenset(Verb),
    },
)
"""What each role may do. Aborting is the brake: whoever starts and whoever decides may pull it, in every phase."""

GLOBAL: Final = frozenset({Verb.FORGET_ROUTER, Verb.FREEZE_ALL, Verb.SCRAPE, Verb.SET_DEFAULTS})
"""Verbs that concern every deployment, so that a caller who is scoped to some may not use them."""


def may(roles: Iterable[Role], verb: Verb) -> bool:
    """Whether one of ``roles`` allows ``verb``."""
    return any(verb in ALLOWED[role] for role in roles)


def rights_of(roles: Iterable[Role]) -> frozenset[Verb]:
    """Return all that ``roles`` allow together."""
    return frozenset(verb for role in roles for verb in ALLOWED[role])


def roles_that_may(verb: Verb) -> tuple[Role, ...]:
    """Return the roles that allow ``verb``, the weakest first."""
    return tuple(role for role in Role if verb in ALLOWED[role])


def in_scope(scope: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a caller who is scoped to ``scope`` may see what bears ``labels``; an empty scope is everything."""
    return all(labels.get(name) == value for name, value in scope.items())
