"""What commands declare: when the rollout takes them, and that nothing of it is missing."""

import pytest

from celadon.domain.language.docstrings import attribute_docstrings
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
    "withdraw": {RolloutPhase.BAKING},
    "pause": {*BEFORE, RolloutPhase.BAKING},
    "resume": {*BEFORE, RolloutPhase.BAKING},
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
