"""What ``abort`` and ``rollback`` share: the same request and result, under two names and two rights."""

from typing import Any, Final

from celadon.domain.language.commands import AbortAnswer, AbortCommand, AbortState
from celadon.domain.language.contracts import ROLLBACK
from celadon.domain.language.permissions import Verb
from celadon.domain.language.router_names import told_routers
from celadon.domain.language.states import RolloutOutcome
from celadon.service.answers import SWITCH, Decided, RolloutDecision
from celadon.service.command import Call, Line, Notice, RequestT, Tone
from celadon.service.deciding import rollout_of, sent_command
from celadon.service.wording import see, told_switch


class AbortRequest(RolloutDecision):
    """Asks to go back: before the switch green is closed, after it traffic returns to blue."""


class AbortResult(Decided):
    """The answer to an abort or a rollback."""

    answer: AbortAnswer
    """What the rollout answered."""


WENT_BACK: Final = frozenset({RolloutOutcome.ABORTED, RolloutOutcome.ROLLED_BACK})

BACK: Final[dict[str, Any]] = {
    "input": "BackInput",
    "payload": "BackPayload",
    "answer": "BackAnswer",
    "about_input": "Asks to go back.",
    "about_payload": "An abort or a rollback was accepted.",
    "about_answer": "How the rollout ends, or why there is no way back.",
    "shown": {
        "deployment": "@deployment",
        "rollout_id": "rollout",
        "state": "answer.state",
        "outcome": "answer.outcome",
        "why": "answer.why",
        "switch": SWITCH,
    },
}
"""How GraphQL shows both."""


async def go_back(call: Call[RequestT], message: str, right: Verb) -> AbortResult:
    """Send the message to the rollout that is meant, and wait for its answer."""
    command = sent_command(call, AbortCommand, (right,))
    rollouts = await call.service.rollout_client()
    ask = rollouts.rollback if message == ROLLBACK else rollouts.abort
    answer = await ask(call.subject, command, request_id=call.service.update_id(call, message, command.rollout))
    return AbortResult(
        deployment=call.subject,
        rollout=rollout_of(command),
        revision=call.target_rollout.revision,
        by=call.who.name,
        answer=answer,
    )


def way_back_summary(result: AbortResult) -> tuple[Line, ...]:
    """Return what a terminal says of a way back."""
    answer = result.answer
    if answer.outcome is None:
        if answer.state is AbortState.STARTED:
            return _told_start(result)
        return (Line(text=f"Recorded: {answer.why}."), see(result.deployment))
    if answer.epoch is not None:
        return told_switch("Back on blue", answer)
    if answer.outcome is RolloutOutcome.ABORTED:
        return (Line(text="Aborted before the switch: traffic stays where it was, green is being closed."),)
    return (Line(text=f"{answer.outcome.value.replace('_', ' ')}; see: celadon rollout status {result.deployment}"),)


def _told_start(result: AbortResult) -> tuple[Line, ...]:
    name = result.deployment
    if result.rollout is None:
        strong = f"A rollout of {name} back to r{result.revision} is started, but no worker has taken it up yet"
        return (Line(strong=strong, text="; it waits until one runs ('celadon worker').", tone=Tone.WARN),)
    return (
        Line(text=f"No rollout was under way, so rollout {result.rollout} of {name} has begun, to r{result.revision}."),
        Line(text=f"It is {result.answer.why}."),
        Line(text=f"Follow it with: celadon rollout watch {name}"),
    )


def notice_of_way_back(result: AbortResult) -> Notice:
    """Return what a page says of a way back."""
    answer = result.answer
    if answer.state is AbortState.STARTED:
        return Notice(tone=Tone.DONE, text=" ".join(line.strong + line.text for line in _told_start(result)[:2]))
    if answer.outcome is None:
        return Notice(tone=Tone.WARN, text=f"Recorded: {answer.why}.")
    if answer.outcome is not RolloutOutcome.ROLLED_BACK:
        ended = answer.outcome.value.replace("_", " ")
        return Notice(tone=Tone.DONE, text=f"The rollout is {ended}: green is being closed.")
    silent = f" Routers are silent: {told_routers(answer.silent, answer.silent_count)}." if answer.silent else ""
    return Notice(
        tone=Tone.WARN if answer.silent else Tone.DONE,
        text=f"Traffic is back on blue since epoch {answer.epoch}, after {answer.ms:.0f} ms.{silent}",
    )
