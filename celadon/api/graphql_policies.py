"""Policies in GraphQL: of a deployment, and the installation's defaults."""

from datetime import datetime
from typing import Self

import strawberry

from celadon.api.graphql_descriptions import shows
from celadon.domain.language.plan import FieldChange, LayeredKey, PolicyLayer
from celadon.domain.language.states import Channel
from celadon.service.views.policy import ShownPolicy
from celadon.table.records.policies import DefaultsChanged

strawberry.enum(PolicyLayer)


@shows(LayeredKey)
@strawberry.type
class PolicyKey:
    """A key of a policy, with the layer that gives its value."""

    key: str
    value: str
    layer: PolicyLayer

    @classmethod
    def of(cls, one: LayeredKey) -> Self:
        """Show a key."""
        return cls(key=one.key, value=one.value, layer=one.layer)


@shows(FieldChange)
@strawberry.type
class PolicyKeyChange:
    """A key for which another value, or another layer, counts."""

    field: str
    before: str
    after: str

    @classmethod
    def of(cls, one: FieldChange) -> Self:
        """Show a change of a key."""
        return cls(field=one.field, before=one.before, after=one.after)


@shows(DefaultsChanged)
@strawberry.type
class DefaultPolicyChange:
    """One change of the installation's defaults."""

    at: datetime
    by: str
    door: Channel
    verified: bool
    reason: str
    changes: list[PolicyKeyChange]

    @classmethod
    def of(cls, one: DefaultsChanged) -> Self:
        """Show a change."""
        return cls(
            at=one.at,
            by=one.by,
            door=one.door,
            verified=one.verified,
            reason=one.reason,
            changes=[PolicyKeyChange.of(change) for change in one.changes],
        )


@shows(ShownPolicy, deployment_id="deployment", keys="policy")
@strawberry.type
class Policy:
    """A policy as rollouts have it that say nothing themselves."""

    deployment_id: strawberry.ID | None
    keys: list[PolicyKey]
    changes: list[DefaultPolicyChange]

    @classmethod
    def of(cls, shown: ShownPolicy) -> Self:
        """Show a policy."""
        return cls(
            deployment_id=None if shown.deployment is None else strawberry.ID(shown.deployment),
            keys=[PolicyKey.of(one) for one in shown.policy],
            changes=[DefaultPolicyChange.of(one) for one in shown.changes],
        )
