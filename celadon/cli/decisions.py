"""``celadon promote``, ``abort`` and ``rollback``: a person's decision, with what it is about."""

import uuid
from dataclasses import dataclass
from pathlib import Path

from celadon.cli.ending import ExitCode
from celadon.cli.faults import CommandError
from celadon.cli.output import OutputFormat, print_json, print_note, print_text
from celadon.cli.person import person_named
from celadon.cli.session import Session, open_session
from celadon.client.overview import NO_WORKFLOW
from celadon.client.rollouts import NoAnswerError
from celadon.domain.contracts import ABORT, ROLLBACK, workflow_id
from celadon.domain.errors import RefusalCode, refuse
from celadon.domain.messages import AbortAnswer, AbortCommand, PromoteAnswer, PromoteCommand, PromoteState
from celadon.domain.names import RevisionNumber, RolloutId
from celadon.domain.states import RolloutOutcome
from celadon.domain.strictness import Record
from celadon.table.overview import view_deployment


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


class Meant(Record):
    """The rollout that a decision is about."""

    rollout: RolloutId | None
    revision: RevisionNumber | None
    worker_alive: bool


class DecisionAnswer(Record):
    """What ``-o json`` prints of a decision."""

    deployment: str
    rollout: RolloutId | None
    revision: RevisionNumber | None
    by: str
    request_id: str


class Promoted(DecisionAnswer):
    """The answer to a promotion."""

    answer: PromoteAnswer


class Aborted(DecisionAnswer):
    """The answer to an abort or a rollback."""

    answer: AbortAnswer


async def promote(
    decision: Decision,
    revision: int | None,
    data_dir: Path | None,
    output: OutputFormat,
    *,
    force: bool,
) -> ExitCode:
    """Promote the green that waits, naming the revision and the rollout that are meant.

    Raises:
        CommandError: there is no Celadon, or nobody answered.
        RefusedError: the promotion was refused; it says why.

    """
    async with open_session(data_dir) as session:
        meant = await _find_meant(session, decision)
        given = {
            "revision": revision or meant.revision,
            "rollout": meant.rollout,
            "by": person_named(decision.by),
            "reason": decision.reason,
            "force": force,
        }
        command = PromoteCommand.model_validate({name: value for name, value in given.items() if value is not None})
        request_id = decision.request_id or str(uuid.uuid4())
        _announce("Promoting", decision.deployment, command.revision, command.rollout, command.by, output)
        try:
            answer = await (await session.rollouts()).promote(decision.deployment, command, request_id=request_id)
        except NoAnswerError as error:
            raise _unanswered(error, request_id) from error
    if output is OutputFormat.JSON:
        print_json(
            Promoted(
                deployment=decision.deployment,
                rollout=meant.rollout,
                revision=None if command.revision is None else RevisionNumber(command.revision),
                by=command.by,
                request_id=request_id,
                answer=answer,
            ),
        )
    else:
        print_text(*_describe_promotion(answer, decision.deployment))
    return ExitCode.DONE


async def abort(decision: Decision, data_dir: Path | None, output: OutputFormat, *, rollback: bool) -> ExitCode:
    """Abort the rollout, or return traffic to blue; naming the rollout that is meant. Errors as for a promotion."""
    async with open_session(data_dir) as session:
        meant = await _find_meant(session, decision)
        given = {"rollout": meant.rollout, "by": person_named(decision.by), "reason": decision.reason}
        command = AbortCommand.model_validate({name: value for name, value in given.items() if value is not None})
        request_id = decision.request_id or str(uuid.uuid4())
        verb = "Rolling back" if rollback else "Aborting"
        _announce(verb, decision.deployment, meant.revision, command.rollout, command.by, output)
        rollouts = await session.rollouts()
        ask = rollouts.rollback if rollback else rollouts.abort
        try:
            answer = await ask(decision.deployment, command, request_id=request_id)
        except NoAnswerError as error:
            raise _unanswered(error, request_id, _as_signal(decision.deployment, rollback=rollback)) from error
    if output is OutputFormat.JSON:
        print_json(
            Aborted(
                deployment=decision.deployment,
                rollout=meant.rollout,
                revision=meant.revision,
                by=command.by,
                request_id=request_id,
                answer=answer,
            ),
        )
    else:
        print_text(*_describe_abort(answer, decision.deployment))
    return ExitCode.DONE


async def _find_meant(session: Session, decision: Decision) -> Meant:
    """Return the rollout under way: by the table, or by its workflow when the table cannot be read or is behind.

    The number that a person gave is passed on as it is; the rollout itself compares.

    Raises:
        RefusedError: no rollout is under way.

    """
    try:
        view = await session.read(lambda tx: view_deployment(tx, decision.deployment))
    except CommandError as error:
        print_note(f"{error}")
        view = None
    given = None if decision.rollout is None else RolloutId(decision.rollout)
    if view is not None and view.rollout is not None and view.rollout.outcome is None:
        meant = Meant(
            rollout=given or view.rollout.rollout,
            revision=view.rollout.to_revision,
            worker_alive=view.keeper_alive,
        )
        if not meant.worker_alive:
            print_note("no keeper is at work, so probably no worker either; the answer may take until one runs")
        return meant
    answer = await session.ask_workflow(decision.deployment)
    if answer.status is not None:
        return Meant(rollout=given or answer.status.rollout, revision=answer.status.to_revision, worker_alive=True)
    if answer.silence == NO_WORKFLOW:
        raise refuse(
            RefusalCode.NO_SUCH_ROLLOUT,
            f"no rollout of {decision.deployment} is under way",
            "start one with 'celadon deploy -f FILE', or see 'celadon rollout list'",
        )
    raise CommandError(f"which rollout of {decision.deployment} is under way cannot be found out: {answer.silence}")


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


def _describe_promotion(answer: PromoteAnswer, deployment: str) -> tuple[str, ...]:
    match answer.state:
        case PromoteState.RECORDED:
            told = f"Recorded: {answer.approvals} of {answer.needed} approvals."
            return (told, f"See: celadon rollout status {deployment}")
        case PromoteState.GROWING:
            return ("Recorded: green grows to its full size, then traffic switches.",)
        case PromoteState.SWITCHED:
            return _describe_switch("Switched to green", answer.epoch, answer)


def _describe_abort(answer: AbortAnswer, deployment: str) -> tuple[str, ...]:
    if answer.epoch is not None:
        return _describe_switch("Back on blue", answer.epoch, answer)
    if answer.outcome is RolloutOutcome.ABORTED:
        return ("Aborted before the switch: traffic stays where it was, green is being closed.",)
    return (f"{answer.outcome.value.replace('_', ' ')}; see: celadon rollout status {deployment}",)


def _describe_switch(done: str, epoch: int | None, answer: PromoteAnswer | AbortAnswer) -> tuple[str, ...]:
    head = f"[bold green]{done}[/]: epoch {epoch}, {answer.ms:.0f} ms from the decision to the last acknowledgement."
    served = ", ".join(answer.acknowledged_by) or "no router is live"
    if not answer.silent:
        return (head, f"Acknowledged by: {served}")
    return (
        f"[bold yellow]{done}, but not everywhere yet[/]: epoch {epoch}.",
        f"Acknowledged by: {served}",
        f"Silent: {', '.join(answer.silent)}; the other colour is kept until they acknowledge or are gone",
    )
