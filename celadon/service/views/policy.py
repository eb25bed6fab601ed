"""The policy of a deployment that says nothing in a request, and the defaults of the installation."""

# ruff: noqa: PLC0415 - looking needs no database

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from celadon.domain.decisions.layers import layers_of
from celadon.domain.language.base_models import Record
from celadon.domain.language.plan import LayeredKey, PolicyLayer
from celadon.service.principal import Principal
from celadon.service.views.phrases import Shown, vouched
from celadon.table.records.policies import DefaultsChanged

if TYPE_CHECKING:
    from celadon.service.service import Service


class ShownPolicy(Record):
    """A policy as rollouts have it that say nothing themselves."""

    deployment: str | None
    """The deployment's name; nothing for the installation's defaults."""
    policy: tuple[LayeredKey, ...]
    """Every key, with the layer that gives its value."""
    changes: tuple[DefaultsChanged, ...] = ()
    """The last changes of the defaults, newest first; the changes of a deployment's own policy stand in its log."""


class PolicyRow(Shown):
    """A key of a policy as people see it."""

    key: str
    value: str
    layer: str
    """Where the value comes from."""
    is_set: bool
    """Whether somebody has said it; else it is Celadon's own value."""


class DefaultsRow(Shown):
    """A change of the installation's defaults as people see it."""

    at: datetime
    by: str
    """Who changed them, and whether a door vouches for that."""
    changes: tuple[str, ...]
    """Each key with its value before and after."""
    reason: str


def policy_rows(keys: Iterable[LayeredKey]) -> tuple[PolicyRow, ...]:
    """Return the keys of a policy as people see them."""
    return tuple(
        PolicyRow(key=one.key, value=one.value, layer=one.layer.value, is_set=one.layer is not PolicyLayer.DEFAULT)
        for one in keys
    )


def defaults_rows(changes: Iterable[DefaultsChanged]) -> tuple[DefaultsRow, ...]:
    """Return changes of the installation's defaults as people see them."""
    return tuple(
        DefaultsRow(
            at=one.at,
            by=vouched(one.by, verified=one.verified),
            changes=tuple(f"{change.field}: {change.before} → {change.after}" for change in one.changes),
            reason=one.reason,
        )
        for one in changes
    )


async def read_policy_of(service: "Service", who: Principal, name: str) -> ShownPolicy:
    """Return a deployment's policy.

    Raises:
        RefusedError: there is no such deployment, or the caller may not see it.

    """
    from celadon.table.read.policies import stored_policies

    async with service.reading(who, name) as tx:
        stored = await stored_policies(tx, name)
    return ShownPolicy(deployment=name, policy=layers_of(stored.own, defaults=stored.defaults))


async def read_default_policy(service: "Service", who: Principal) -> ShownPolicy:
    """Return the installation's defaults, which every caller may see: they are part of each policy.

    Raises:
        RefusedError: the caller may not read.

    """
    from celadon.table.read.policies import last_changes, stored_policies

    stored = await service.read(who, lambda tx, _: stored_policies(tx, None))
    changes = await service.read(who, lambda tx, _: last_changes(tx))
    return ShownPolicy(deployment=None, policy=layers_of(stored.own, defaults=stored.defaults), changes=changes)
