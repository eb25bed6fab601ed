"""``celadon promote``, ``abort`` and ``rollback``: a person's decision, with what it is about."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from celadon.cli.access.answers import Meant
from celadon.cli.access.opening import open_access
from celadon.cli.access.protocol import Access
from celadon.cli.ending import ExitCode
from celadon.cli.faults import CommandError
from celadon.cli.output import OutputFormat, print_note, print_object, print_text
from celadon.cli.patience import Patience
from celadon.cli.target_choice import TargetChoice
from celadon.cli.watching import exit_code_of, follow_to_end
from celadon.client.patience import NoAnswerError
from celadon.domain.contracts import ABORT, ROLLBACK, workflow_id
from celadon.domain.messages import AbortAnswer, AbortCommand, PromoteAnswer, PromoteCommand, PromoteState
from celadon.domain.names import RevisionNumber, RolloutId
from celadon.domain.states import Door, RolloutOutcome
from celadon.domain.strictness import Record
from celadon.table.records.rollouts import RolloutRecord
from celadon.terminal import Shown, Text

_WENT_BACK: Final = frozenset({RolloutOutcome.ABORTED, RolloutOutcome.ROLLED_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person decided about a deployment's rollout."""

    deployment: str
    by: str | None
    reason: str
    rollout: int | None
    """The rollout that is meant; the one under way when the person named none."""
    request_id: str | None
    """The update's id; a repeat with the same one gets the first answer."""
    wait: bool = False
    """Whether to wait until the rollout has ended."""
    timeout: timedelta | None = None
    """How long to wait for that; for ever when not set."""


class DecisionAnswer(Record):
    """What ``-o json`` prints of a decision."""

    deployment: str
    rollout: RolloutId | None
    revision: RevisionNumber | None
    by: str
    request_id: str
    ended: RolloutRecord | None = None
    """How the rollout ended; with ``--wait`` alone."""


class Promoted(DecisionAnswer):
    """The answer to a promotion."""

    answer: PromoteAnswer


class Aborted(DecisionAnswer):
    """The answer to an abort or a rollback."""

    answer: AbortAnswer


async def promote(
    decision: Decision,
    revision: int | None,
    target: TargetChoice,
    output: OutputFormat,
    *,
    force: bool,
) -> ExitCode:
    """Promote the green that waits, naming the revision and the rollout that are meant.

    Raises:
        CommandError: there is no Celadon, nobody answered, or it took longer than the person would wait.
        RefusedError: the promotion was refused; it says why.

    """
    name = decision.deployment
    async with open_access(target) as access:
        meant = await _find_meant(access, decision, to_promote=True)
        given = {
            "revision": revision or meant.revision,
            "rollout": meant.rollout,
            "by": await access.person(decision.by),
            "door": Door.CLI,
            "reason": decision.reason,
            "force": force,
        }
        command = PromoteCommand.model_validate({name: value for name, value in given.items() if value is not None})
        request_id = decision.request_id or str(uuid.uuid4())
        _announce("Promoting", name, command.revision, command.rollout, command.by, output)
        try:
            answer = await access.promote(name, command, request_id)
        except NoAnswerError as error:
            raise _unanswered(error, request_id) from error
        if output is OutputFormat.TEXT:
            print_text(*_describe_promotion(answer, name))
        ended = await _ending(access, decision, meant, output)
    if output.is_for_programs:
        promoted = Promoted(
            deployment=name,
            rollout=meant.rollout,
            revision=None if command.revision is None else RevisionNumber(command.revision),
            by=command.by,
            request_id=request_id,
            answer=answer,
            ended=ended,
        )
        print_object(promoted, output)
    return ExitCode.DONE if ended is None else exit_code_of(ended.outcome)


async def abort(decision: Decision, target: TargetChoice, output: OutputFormat, *, rollback: bool) -> ExitCode:
    """Abort the rollout, or return traffic to blue; naming the rollout that is meant. Errors as for a promotion."""
    name = decision.deployment
    async with open_access(target) as access:
        meant = await _find_meant(access, decision, to_promote=False)
        by = await access.person(decision.by)
        given = {"rollout": meant.rollout, "by": by, "door": Door.CLI, "reason": decision.reason}
        command = AbortCommand.model_validate({name: value for name, value in given.items() if value is not None})
        request_id = decision.request_id or str(uuid.uuid4())
        verb = "Rolling back" if rollback else "Aborting"
        _announce(verb, name, meant.revision, command.rollout, by, output)
        ask = access.rollback if rollback else access.abort
        try:
            answer = await ask(name, command, request_id)
        except NoAnswerError as error:
            raise _unanswered(error, request_id, _as_signal(name, rollback=rollback)) from error
        if output is OutputFormat.TEXT:
            print_text(*_describe_abort(answer, name))
        ended = await _ending(access, decision, meant, output)
    if output.is_for_programs:
        aborted = Aborted(
            deployment=name,
            rollout=meant.rollout,
            revision=meant.revision,
            by=by,
            request_id=request_id,
            answer=answer,
            ended=ended,
        )
        print_object(aborted, output)
    return ExitCode.DONE if ended is None or ended.outcome in _WENT_BACK else ExitCode.FAILED


async def _find_meant(access: Access, decision: Decision, *, to_promote: bool) -> Meant:
    """Return the rollout under way; the number that a person gave is passed on as it is, the rollout itself compares.

    Raises:
        RefusedError: no rollout is under way.

    """
    meant = await access.meant(decision.deployment, to_promote=to_promote)
    if meant.note:
        print_note(meant.note)
    return meant if decision.rollout is None else meant.model_copy(update={"rollout": RolloutId(decision.rollout)})


async def _ending(access: Access, decision: Decision, meant: Meant, output: OutputFormat) -> RolloutRecord | None:
    """Wait for the rollout's end when the person wants to, and return it."""
    if not decision.wait or meant.rollout is None:
        return None
    what = f"rollout {meant.rollout} of {decision.deployment} has not ended"
    instead = f"it goes on; follow it with 'celadon rollout watch {decision.deployment}'"
    async with Patience(decision.timeout).waiting(what, instead):
        return await follow_to_end(access, decision.deployment, meant.rollout, output)


def _announce(
    verb: str,
    deployment: str,
    revision: int | None,
    rollout: int | None,
    by: str,
    output: OutputFormat,
) -> None:
    """Say what is meant before it is asked for."""
    if output is OutputFormat.TEXT:
        which = f"r{revision} of {deployment}" if revision is not None else deployment
        print_text(f"{verb} {which}, rollout {rollout}, by {by}.")


def _unanswered(error: NoAnswerError, request_id: str, instead: str = "") -> CommandError:
    return CommandError(
        f"{error}; what no worker has taken by now lapses; to learn the answer to what one has taken, add "
        f"--request-id {request_id}{instead}",
    )


def _as_signal(deployment: str, *, rollback: bool) -> str:
    """Return the way for a person who cannot wait for a worker; a promotion is never stored up like this."""
    return (
        "; to have it done as soon as a worker runs: temporal workflow signal "
        f"-w {workflow_id(deployment)} --name {ROLLBACK if rollback else ABORT}"
    )


def _describe_promotion(answer: PromoteAnswer, deployment: str) -> tuple[Shown, ...]:
    match answer.state:
        case PromoteState.RECORDED:
            told = f"Recorded: {answer.approvals} of {answer.needed} approvals."
            return (told, f"See: celadon rollout status {deployment}")
        case PromoteState.GROWING:
            return ("Recorded: green grows to its full size, then traffic switches.",)
        case PromoteState.SWITCHED:
            return _describe_switch("Switched to green", answer.epoch, answer)


def _describe_abort(answer: AbortAnswer, deployment: str) -> tuple[Shown, ...]:
    if answer.outcome is None:
        return (f"Recorded: {answer.why}.", f"See: celadon rollout status {deployment}")
    if answer.epoch is not None:
        return _describe_switch("Back on blue", answer.epoch, answer)
    if answer.outcome is RolloutOutcome.ABORTED:
        return ("Aborted before the switch: traffic stays where it was, green is being closed.",)
    return (f"{answer.outcome.value.replace('_', ' ')}; see: celadon rollout status {deployment}",)


def _describe_switch(done: str, epoch: int | None, answer: PromoteAnswer | AbortAnswer) -> tuple[Shown, ...]:
    head = Text("").append(done, style="bold green")
    head.append(f": epoch {epoch}, {answer.ms:.0f} ms from the decision to the last acknowledgement.")
    served = ", ".join(answer.acknowledged_by) or "no router is live"
    if not answer.silent:
        return (head, f"Acknowledged by: {served}")
    return (
        Text("").append(f"{done}, but not everywhere yet", style="bold yellow").append(f": epoch {epoch}."),
        f"Acknowledged by: {served}",
        f"Silent: {', '.join(answer.silent)}; the other colour is kept until they acknowledge or are gone",
    )
