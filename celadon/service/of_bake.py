"""What commands to a rollout that bakes have in common."""

from typing import TypeVar

from celadon.domain.language.commands import BakeAnswer, BakeCommand
from celadon.domain.language.contracts import FINISH
from celadon.domain.language.permissions import Verb
from celadon.service.answers import Decided, RolloutDecision
from celadon.service.command import Call
from celadon.service.deciding import rollout_of, sent_command


class BakeDecided(Decided):
    """The answer to a command of the bake."""

    answer: BakeAnswer
    """What the rollout answered."""


DecisionT = TypeVar("DecisionT", bound=RolloutDecision)
DecidedT = TypeVar("DecidedT", bound=BakeDecided)


async def ask_bake(call: Call[DecisionT], message: str, right: Verb, kind: type[DecidedT]) -> DecidedT:
    """Send the message to the rollout that is meant, and wait for its answer."""
    command = sent_command(call, BakeCommand, (right,))
    rollouts = await call.service.rollout_client()
    ask = rollouts.finish if message == FINISH else rollouts.withdraw
    answer = await ask(call.subject, command, request_id=call.service.update_id(call, message, command.rollout))
    return kind(
        deployment=call.subject,
        rollout=rollout_of(command),
        revision=call.meant.revision,
        by=call.who.name,
        answer=answer,
    )
