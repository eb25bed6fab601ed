"""Policies as the table keeps them: only the keys that were given, as JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime

from celadon.domain.decisions.windows import refuse_never_open, refuse_unknown_zones
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy


def read_policy(stored: Mapping[str, object]) -> BlueGreenPolicy:
    """Return a stored policy: a deployment's layer, or a rollout's resolved one."""
    return BlueGreenPolicy.model_validate(stored, strict=False)


def resolve_for(deployment: str, *layers: BlueGreenPolicy) -> BlueGreenPolicy:
    """Merge layers, weakest first, over the defaults; the result gives all keys.

    Raises:
        RefusedError: the merged policy contradicts itself, or its windows name an unknown zone or never open.

    """
    try:
        policy = resolve_policy(*layers)
    except ValueError as error:
        raise refuse(
            RefusalCode.POLICY_CONFLICT,
            f"the policy contradicts itself: {error}",
            f"see the policy of {deployment} with 'celadon deployment show {deployment}'",
        ) from error
    refusal = refuse_unknown_zones(policy.windows) or refuse_never_open(policy.windows, datetime.now(UTC))
    if refusal is not None:
        raise RefusedError(refusal)
    return policy
