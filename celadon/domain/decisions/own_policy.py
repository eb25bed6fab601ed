"""A deployment's own policy, or the defaults of an installation, with other keys."""

from collections.abc import Collection, Iterable
from typing import Any

from celadon.domain.decisions.layers import layers_of
from celadon.domain.language.plan import FieldChange, LayeredKey
from celadon.domain.language.policy import BlueGreenPolicy


def with_keys(own: BlueGreenPolicy, given: BlueGreenPolicy, unset: Collection[str] = ()) -> BlueGreenPolicy:
    """Return a policy with other keys; a delay lapses with the automatic promotion that it belongs to.

    Args:
        own: the policy as it is, with the keys alone that it gives.
        given: keys that it gets.
        unset: keys that it loses, so that the defaults apply; those that are given are not among them.

    Raises:
        ValueError: the keys contradict each other, as far as that shows without the defaults.

    """
    kept: dict[str, Any] = {key: getattr(own, key) for key in own.model_fields_set - set(unset)}
    new = {key: getattr(given, key) for key in given.model_fields_set}
    if new.get("auto_promote") is False:
        kept.pop("promote_after", None)
        kept.pop("promote_at", None)
    if "promotion_deadline" in new and new["promotion_deadline"] is None:
        kept.pop("on_deadline", None)
    if "max_total_replicas" in new and new["max_total_replicas"] is None:
        kept.pop("on_no_room", None)
    return BlueGreenPolicy(**(kept | new))


def policy_changes(
    before: BlueGreenPolicy, after: BlueGreenPolicy, defaults: BlueGreenPolicy
) -> tuple[FieldChange, ...]:
    """Return the keys of a deployment's policy for which another value, or another layer, counts from now on.

    Raises:
        ValueError: a policy contradicts itself.

    """
    return _changes(layers_of(before, defaults=defaults), layers_of(after, defaults=defaults))


def default_changes(before: BlueGreenPolicy, after: BlueGreenPolicy) -> tuple[FieldChange, ...]:
    """Return the same of an installation's defaults, for deployments that say nothing themselves.

    Raises:
        ValueError: the defaults contradict themselves.

    """
    silent = BlueGreenPolicy()
    return _changes(layers_of(silent, defaults=before), layers_of(silent, defaults=after))


def _changes(before: Iterable[LayeredKey], after: Iterable[LayeredKey]) -> tuple[FieldChange, ...]:
    return tuple(
        FieldChange(
            field=new.key,
            before=f"{old.value} ({old.layer.value})",
            after=f"{new.value} ({new.layer.value})",
        )
        for old, new in zip(before, after, strict=True)
        if (old.value, old.layer) != (new.value, new.layer)
    )
