"""What commands declare: when the rollout takes them, and that nothing of it is missing."""

import pytest

from celadon.domain.language.base_models import written_name
from celadon.domain.language.docstrings import attribute_docstrings
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.states import RolloutPhase
from celadon.service.command import AnyCommand, Scope, mutation_name, rest_path, words_of
from celadon.service.registry import command_named, commands
from tests.service.test_doors import CASES

BEFORE = {RolloutPhase.PROVISIONING, RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION}
AFTER = {RolloutPhase.BAKING, RolloutPhase.DRAINING}
PHASES = {
    "promote": {RolloutPhase.AWAITING_PROMOTION},
    "abort": {*BEFORE, RolloutPhase.SWITCHING, *AFTER},
    "rollback": {RolloutPhase.SWITCHING, *AFTER},
    "finish": {RolloutPhase.BAKING},
    "withdraw": {RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION, RolloutPhase.BAKING},
    "pause": {*BEFORE, RolloutPhase.BAKING},
    "resume": {*BEFORE, RolloutPhase.BAKING},
    "reschedule": BEFORE,
}


def test_a_rollout_takes_each_command_in_the_phases_of_the_design() -> None:
    assert {one.verb: one.phases for one in commands() if one.scope is Scope.ROLLOUT} == PHASES


def test_every_command_is_given_at_every_door_by_a_test() -> None:
    assert set(CASES) == {one.verb for one in commands()}


@pytest.mark.parametrize("of", [words_of, mutation_name, lambda one: (one.rest.method, rest_path(one))])
def test_no_two_commands_are_called_alike(of: object) -> None:
    assert callable(of)
    names = [of(one) for one in commands()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("command", commands(), ids=lambda one: one.verb)
def test_people_are_told_what_every_field_is(command: AnyCommand) -> None:
    sentences = attribute_docstrings(command.request)
    silent = [
        name for name, field in command.request.model_fields.items() if not (field.description or sentences.get(name))
    ]
    assert silent == []


def test_what_is_no_command_is_not_found() -> None:
    assert command_named("celebrate") is None


MOMENTS = [
    (command, written_name(name, field))
    for command in commands()
    for name, field in command.request.model_fields.items()
    if "AwareDatetime" in str(field.annotation)
]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
@pytest.mark.parametrize(("command", "key"), MOMENTS, ids=lambda one: one if isinstance(one, str) else one.verb)
def test_a_moment_that_utc_does_not_have_is_refused_at_every_door(command: AnyCommand, key: str, moment: str) -> None:
    with pytest.raises(RefusedError, match=f"{key}: a moment is between the years 1 and 9999"):
        parse_payload(command.request, {key: moment})


def test_commands_have_moments() -> None:
    assert {command.verb for command, _ in MOMENTS} == {"freeze", "pause", "reschedule", "create_schedule"}
