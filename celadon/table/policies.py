"""Policies as the table keeps them: only the keys that were given, as JSON."""

from collections.abc import Mapping

from celadon.domain.policy import BlueGreenPolicy


def read_policy(stored: Mapping[str, object]) -> BlueGreenPolicy:
    """Return a stored policy: a deployment's layer, or a rollout's resolved one."""
    return BlueGreenPolicy.model_validate(stored, strict=False)
