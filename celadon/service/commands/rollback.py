"""Return traffic to blue after the switch, or roll out a revision that was live before."""

# ruff: noqa: PLC0415 - declaring a command needs neither a database nor Temporal

from typing import TYPE_CHECKING, Final

from celadon.domain.language.commands import AbortAnswer, AbortCommand, AbortState, NamedRevision
from celadon.domain.language.contracts import ROLLBACK
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.names import DeploymentName, RevisionNumber
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import RolloutPhase
from celadon.service.command import Call, Command, Form, Graph, Option, Rest, Scope, Terminal
from celadon.service.way_back import (
    BACK,
    WENT_BACK,
    AbortRequest,
    AbortResult,
    go_back,
    notice_of_way_back,
    way_back_summary,
)

if TYPE_CHECKING:
    from celadon.domain.language.progress import Progress
    from celadon.table.records.rollouts import RolloutRecord

_STARTED: Final = "a rollback that was started"
"""Tells the id of such a start from that of a message with the same id."""


class RollbackRequest(AbortRequest):
    """Asks to go back: to blue after the switch, or to a revision that was live before when no rollout is under way."""

    to_revision: NamedRevision | None = None
    """Where to go back to; when not given, blue, or the revision that was live last and not gone back from since."""


async def rollback(call: Call[RollbackRequest]) -> AbortResult:
    """Return traffic to blue, or start a rollout back when none is under way."""
    request, target = call.request, call.target_rollout
    if request.rollout is not None:
        return await go_back(call, ROLLBACK, Verb.ROLLBACK)
    if target.rollout is None or target.has_ended:
        return await _start_back(call)
    if target.is_rollback and await _begun_by(call, call.service.update_id(call, _STARTED)) is not None:
        return await _start_back(call)
    if request.to_revision not in {None, target.blue}:
        back = (
            "" if target.blue is None else f"'celadon rollback {call.subject}' returns to its blue, r{target.blue}; or "
        )
        raise refuse(
            RefusalCode.ROLLOUT_RUNNING,
            f"rollout {target.rollout} of {call.subject} is under way, and its blue is not r{request.to_revision}",
            f"{back}wait for its end, and roll back then",
        )
    if target.is_rollback:
        raise refuse(
            RefusalCode.ROLLOUT_RUNNING,
            f"rollout {target.rollout} of {call.subject} is itself a rollback, to r{target.revision}",
            f"watch it with 'celadon rollout watch {call.subject}'; to undo the rollback, name it: "
            f"'celadon rollback {call.subject} --rollout {target.rollout}'",
        )
    return await go_back(call, ROLLBACK, Verb.ROLLBACK)


async def _start_back(call: Call[RollbackRequest]) -> AbortResult:
    """Start a rollout to a revision that was live before; the table judges again when it begins."""
    from celadon.domain.language.messages import RolloutRequest
    from celadon.service.commands.start import begin_rollout, until_begun
    from celadon.table.core.models import Deployment
    from celadon.table.rollouts.rights import rights_to_request
    from celadon.table.rollouts.rollback import rollback_target

    request_id = call.service.update_id(call, _STARTED)
    begun = await _begun_by(call, request_id)
    if begun is not None:
        return _started(call, await until_begun(call, call.subject, begun), None)
    async with call.service.serving(call, [Verb.ROLLBACK]) as tx:
        number = call.request.to_revision
        target = await rollback_target(tx, await tx.get_one(Deployment, call.subject)) if number is None else number
        request = RolloutRequest(
            deployment=DeploymentName(call.subject), revision=target, reason=call.request.reason, rollback=True
        )
        for right in await rights_to_request(tx, request):
            call.who.require([right.verb], right.why)
    _, rollout = await begin_rollout(call, request, request_id)
    return _started(call, rollout, RevisionNumber(target))


async def _begun_by(call: Call[RollbackRequest], request_id: str | None) -> str | None:
    """Return the run that this very request has started before, which is repeated because its answer was lost."""
    if request_id is None:
        return None
    return await (await call.service.rollout_client()).run_of(call.subject, request_id)


def _started(
    call: Call[RollbackRequest], found: "RolloutRecord | None", revision: RevisionNumber | None
) -> AbortResult:
    return AbortResult(
        deployment=call.subject,
        rollout=None if found is None else found.rollout,
        revision=revision if found is None else found.to_revision,
        by=call.who.name,
        answer=AbortAnswer(state=AbortState.STARTED, why="" if found is None else found.rollback_window or ""),
    )


def _is_refused(progress: "Progress") -> object:
    from celadon.domain.decisions.abort import refuse_abort

    return refuse_abort(progress, AbortCommand(), rollback=True)


COMMAND = Command(
    verb="rollback",
    scope=Scope.ROLLOUT,
    place=50,
    about="Return traffic to blue after the switch, or roll out a revision that was live before.",
    right=Verb.ROLLBACK,
    request=RollbackRequest,
    result=AbortResult,
    can_be_scheduled=True,
    run=rollback,
    without_rollout=True,
    is_refused=_is_refused,
    summary=way_back_summary,
    page_notice=notice_of_way_back,
    rest=Rest(),
    graph=Graph(mutation="rollback_deployment", **{**BACK, "input": "RollbackDeploymentInput"}),
    terminal=Terminal(
        doing="Rolling back",
        wait="Wait until the rollout has ended.",
        takes_id=True,
        signal=ROLLBACK,
        good_ends=WENT_BACK,
        options={
            "to_revision": Option(
                metavar="N", default="blue, or the revision that was live before", help="Where to go back to."
            )
        },
        help="""Return traffic to blue after the switch, while blue is still there.

        When no rollout is under way, one back to a revision that was live before is started. Inside the deployment's
        rollback_window it needs no gate, and green must only be healthy; outside, the ordinary gate applies.

        Examples:
        ```console
        celadon rollback chat --reason "p99 doubled"
        celadon rollback chat --to-revision 3 --wait
        ```
        """,
    ),
    form=Form(
        title="Roll back to {blue}",
        what="All traffic returns to {blue} in one transaction.",
        button="Roll back to {blue}",
        tone="danger",
        only_if=lambda state: (
            state.phase is not RolloutPhase.SWITCHING and state.record is not None and state.record.blue_set is not None
        ),
        without_rollout=(
            "Roll back",
            "A rollout back to the revision that was live before begins; inside the rollback window it needs no gate.",
            "Roll back",
        ),
    ),
)
