"""Try a rollout anew that failed or was given up, or start what waits."""

# ruff: noqa: PLC0415 - declaring a command needs neither a database nor Temporal

from typing import TYPE_CHECKING

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.commands import Reason
from celadon.domain.language.names import RevisionNumber, RolloutId
from celadon.domain.language.next_rollout import WaitingRollout
from celadon.domain.language.permissions import Verb
from celadon.service.command import Call, Command, DeploymentState, Form, Graph, Line, Rest, Scope, Terminal, Tone

if TYPE_CHECKING:
    from celadon.table.records.rollouts import RolloutRecord


class RetryRequest(StrictModel):
    """Asks that what failed, was given up or waits is tried anew."""

    reason: Reason = ""


class RetryResult(Record):
    """The answer to a retry."""

    deployment: str
    """The deployment's name."""
    rollout: RolloutId | None
    """The rollout that has begun; nothing while no worker has taken it up, or while it waits."""
    to_revision: RevisionNumber | None
    """Green's revision; nothing while no worker has taken up the rollout."""
    retried: RolloutId | None
    """The rollout that is tried anew; nothing when it is what waits."""
    waiting: WaitingRollout | None
    """What still waits: for the end of the rollout that is under way, or for its start."""


async def retry(call: Call[RetryRequest]) -> RetryResult:
    """Start what waits, or what the latest rollout was asked for."""
    from celadon.service.commands.start import begin_rollout, until_begun
    from celadon.table.rollouts.retrying import retry as retry_in_table

    service, who, name = call.service, call.who, call.subject
    rollouts = await service.rollout_client()
    request_id = service.update_id(call, COMMAND.verb)
    begun = None if request_id is None else await rollouts.run_of(name, request_id)
    if begun is not None:
        rollout = await until_begun(call, name, begun)
        return _result(name, rollout)
    async with service.serving(call, [Verb.START]) as tx:
        retried = await retry_in_table(
            tx,
            name,
            service.author_of_start(who, call.request.reason),
            lambda verb, why: who.require([verb], why),
            service.host_rules(who),
        )
    if retried.request is not None:
        reason = call.request.reason or f"retry of rollout {retried.of}"
        _, rollout = await begin_rollout(call, retried.request.model_copy(update={"reason": reason}), request_id)
        return _result(name, rollout, retried=retried.of)
    waiting = retried.waiting
    run = await rollouts.start_next(name, waiting.id) if waiting is not None and retried.begins else None
    rollout = None if run is None else await until_begun(call, name, run)
    return _result(name, rollout, waiting=waiting if rollout is None else None)


def _result(
    deployment: str,
    rollout: "RolloutRecord | None",
    *,
    retried: RolloutId | None = None,
    waiting: WaitingRollout | None = None,
) -> RetryResult:
    return RetryResult(
        deployment=deployment,
        rollout=None if rollout is None else rollout.rollout,
        to_revision=None if rollout is None else rollout.to_revision,
        retried=retried,
        waiting=waiting,
    )


def _summary(result: RetryResult) -> tuple[Line, ...]:
    name = result.deployment
    if result.waiting is not None:
        one = result.waiting
        return (
            Line(
                strong="Waiting",
                text=f": r{one.revision} of {name}, which {one.requested_by} asked for, waits for {one.waits_for}.",
                tone=Tone.WARN,
            ),
        )
    if result.rollout is None:
        return (
            Line(strong=f"A rollout of {name} is started, but no worker has taken it up yet", tone=Tone.WARN, text="."),
        )
    of = "" if result.retried is None else f", as rollout {result.retried} was asked for"
    return (
        Line(
            text=f"Rollout {result.rollout} of {name} has begun, to r{result.to_revision}{of}. "
            f"Follow it with: celadon rollout watch {name}",
        ),
    )


def _is_offered(state: DeploymentState) -> bool:
    from celadon.domain.decisions.successors import is_retried

    if state.deployment.lifecycle.is_deleted:
        return False
    waits, latest = state.deployment.next, state.deployment.rollout
    if waits is not None:
        return bool(waits.held)
    return latest is not None and latest.outcome is not None and is_retried(latest.outcome)


COMMAND = Command(
    verb="retry",
    scope=Scope.DEPLOYMENT,
    place=25,
    about="Try the latest rollout anew, which failed or was given up; or start what waits for a retry.",
    right=Verb.START,
    request=RetryRequest,
    result=RetryResult,
    can_be_scheduled=True,
    run=retry,
    summary=_summary,
    rest=Rest(status=202),
    graph=Graph(
        mutation="retry_deployment",
        about_payload="What failed, was given up or waits is tried anew.",
        about_answer="What was started, or why nothing was.",
        shown={
            "deployment": "@deployment",
            "rollout": "@rollout?",
            "retried": "retried",
            "to_revision": "to_revision",
            "waiting": "waiting",
        },
    ),
    terminal=Terminal(
        takes_id=True,
        help="""Try a deployment's latest rollout anew, which failed or was given up; or start what waits.

        What waits starts by itself only after a rollout that was promoted or replaced. After any other end, and after a
        rollback, it waits for this command; it begins with the rights of whoever asked for it, and whoever retries it
        needs the same. When nothing waits, what the latest rollout was asked for is asked for again, by you.

        Examples:
        ```console
        celadon retry chat --reason "the registry is back"
        ```
        """,
    ),
    form=Form(
        title="Retry",
        what="What failed, was given up or waits is rolled out anew.",
        button="Retry",
        only_if=_is_offered,
    ),
)
