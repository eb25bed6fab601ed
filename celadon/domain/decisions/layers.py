"""From which layer each key of a policy comes."""

import json
from typing import Final

from celadon.domain.language.plan import LayeredKey, PolicyLayer
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy

_NO_DEFAULTS: Final = BlueGreenPolicy()


def layers_of(
    own: BlueGreenPolicy, request: BlueGreenPolicy | None = None, *, defaults: BlueGreenPolicy = _NO_DEFAULTS
) -> tuple[LayeredKey, ...]:
    """Return every key of a policy with its value and the layer that gives it.

    A key that a stronger layer makes lapse, such as a delay without automatic promotion, is at its default.

    Args:
        own: the deployment's own policy, with the keys alone that it gives.
        request: what a rollout gives itself; nothing for one that says nothing.
        defaults: what the installation gives to deployments that say nothing, with the keys alone that it gives.

    Raises:
        ValueError: a policy contradicts itself.

    """
    alone = resolve_policy(defaults, own)
    resolved = resolve_policy(defaults, own, request)
    values, others = (one.model_dump(mode="json") for one in (resolved, alone))
    return tuple(
        LayeredKey(
            key=key,
            value=_written(value),
            layer=_layer(key, resolved, defaults, own, request),
            otherwise=_written(others[key]),
        )
        for key, value in values.items()
    )


def _layer(
    key: str,
    resolved: BlueGreenPolicy,
    defaults: BlueGreenPolicy,
    own: BlueGreenPolicy,
    request: BlueGreenPolicy | None,
) -> PolicyLayer:
    if request is not None and key in request.model_fields_set:
        return PolicyLayer.REQUEST
    for layer, policy in ((PolicyLayer.DEPLOYMENT, own), (PolicyLayer.INSTALLATION, defaults)):
        if key in policy.model_fields_set:
            return layer if getattr(policy, key) == getattr(resolved, key) else PolicyLayer.DEFAULT
    return PolicyLayer.DEFAULT


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
