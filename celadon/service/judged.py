"""What commands to a rollout share that lead to no step of their own: they are judged, and answered at once."""

from collections.abc import Iterable
from typing import TypeVar

from celadon.domain.language.commands import BakeCommand, JudgedAnswer
from celadon.domain.language.permissions import Verb
from celadon.service.answers import Decided, RolloutDecision
from celadon.service.command import Call
from celadon.service.deciding import rollout_of, sent_command


class JudgedResult(Decided):
    """The answer to a command that leads to no step of its own."""

    answer: JudgedAnswer
    """What the rollout answered."""


DecisionT = TypeVar("DecisionT", bound=RolloutDecision)
DecidedT = TypeVar("DecidedT", bound=JudgedResult)


async def ask_judged(
    call: Call[DecisionT],
    message: str,
    rights: Iterable[Verb],
    kind: type[DecidedT],
    command_kind: type[BakeCommand] = BakeCommand,
    **said: object,
) -> DecidedT:
    """Send the message to the rollout that is meant, and wait for its answer."""
    command = sent_command(call, command_kind, rights, **said)
    rollouts = await call.service.rollout_client()
    request_id = call.service.update_id(call, message, command.rollout)
    answer = await rollouts.ask(call.subject, message, command, request_id=request_id)
    return kind(
        deployment=call.subject,
        rollout=rollout_of(command),
        revision=call.target_rollout.revision,
        by=call.who.name,
        answer=answer,
    )
