"""The state of a rollout as its decisions see it."""

from typing import get_type_hints

from celadon.domain.language.progress import Progress, ProgressChanges
from celadon.domain.language.states import RolloutPhase
from tests.domain.rollouts import rollout


def test_each_field_of_a_rollout_can_be_changed_to_a_value_of_its_type() -> None:
    assert get_type_hints(ProgressChanges) == {name: field.annotation for name, field in Progress.model_fields.items()}


def test_a_change_leaves_the_other_fields_and_the_value_before_as_they_were() -> None:
    before = rollout(RolloutPhase.BAKING)

    after = before.with_changes(phase=RolloutPhase.DRAINING, bake_is_over=True)

    assert (before.phase, before.bake_is_over) == (RolloutPhase.BAKING, False)
    assert after == Progress(**dict(before) | {"phase": RolloutPhase.DRAINING, "bake_is_over": True})
