"""Start a rollout."""

# ruff: noqa: PLC0415 - declaring a command needs neither a database nor Temporal

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.commands import UNDECLARED, Reason
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import RevisionNumber, RolloutId
from celadon.domain.language.permissions import Verb
from celadon.service.command import Call, Command, Graph, Line, Rest, Scope, Terminal, Tone

if TYPE_CHECKING:
    from celadon.client.rollouts import RolloutEnded
    from celadon.table.records.rollouts import RolloutRecord


class StartResult(Record):
    """The answer to a start."""

    deployment: str
    """The deployment's name."""
    workflow_id: str
    """The id of its workflow in Temporal."""
    run_id: str
    """The id of the workflow's run in Temporal."""
    rollout: RolloutId | None
    """Nothing while no worker has taken it up."""
    from_revision: RevisionNumber | None
    """Blue's revision; nothing for a first deployment, or while no worker has taken it up."""
    to_revision: RevisionNumber | None
    """Green's revision; nothing while no worker has taken it up."""


class StartInput(StrictModel):
    """What GraphQL is told of a start: the revision's number and its content are two fields there."""

    revision: int | None = None
    """The number of a revision that the deployment has; give this or ``content``."""
    content: dict[str, JsonValue] | None = None
    """What is to be served and how, as a deployment file writes it; give this or ``revision``."""
    replicas: int | None = None
    policy: dict[str, JsonValue] | None = None
    labels: dict[str, str] | None = None
    reason: Reason = ""
    allow_plain_secrets: bool = False


async def start(call: Call[RolloutRequest]) -> StartResult:
    """Start a rollout and wait a moment until it is registered."""
    from celadon.client.registering import until_registered
    from celadon.client.rollouts import RolloutEnded
    from celadon.table.read.history import rollout_of_run
    from celadon.table.rollouts.rights import rights_to_request

    request, service, who = call.request, call.service, call.who
    if request.requested_by not in {UNDECLARED, who.name}:
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"requested_by is {request.requested_by!r}, but {who.name} asks",
            "leave it out: the audit log names whoever the token belongs to",
        )
    async with service.transaction() as tx:
        exists = await service.is_there(tx, who, request.deployment)
        # The table judges the same again when the rollout begins; here the caller is told before anything starts.
        for right in await rights_to_request(tx, request):
            who.require([right.verb], right.why)
    if not exists:
        who.require_scope(request.labels or {})
    named = request.model_copy(update={"requested_by": who.name})
    named = RolloutRequest.model_validate(named.model_dump(mode="json", exclude_unset=True), strict=False)
    rollouts = await service.rollout_client()
    run_id = await rollouts.start(named, request_id=service.update_id(call) or "", sender=service.sender(who))

    async def look() -> "RolloutRecord | None":
        async with service.transaction() as tx:
            return await rollout_of_run(tx, workflow_id(request.deployment), run_id)

    found = await until_registered(rollouts, request.deployment, run_id, look)
    if isinstance(found, RolloutEnded):
        raise _refused_at_once(request.deployment, found)
    return StartResult(
        deployment=request.deployment,
        workflow_id=workflow_id(request.deployment),
        run_id=run_id,
        rollout=None if found is None else found.rollout,
        from_revision=None if found is None else found.from_revision,
        to_revision=None if found is None else found.to_revision,
    )


def _refused_at_once(name: str, ended: "RolloutEnded") -> RefusedError:
    if ended.refusal is not None:
        return RefusedError(ended.refusal)
    return refuse(
        RefusalCode.ROLLOUT_ENDED,
        f"the rollout of {name} ended at once: {ended.failure or ended.status}",
        "see its workflow in Temporal",
    )


def _request_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that an input of GraphQL means.

    Raises:
        RefusedError: it names no revision, or two.

    """
    revision, content = given.get("revision"), given.get("content")
    if (revision is None) == (content is None):
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            "a rollout is of one revision",
            "give 'revision', the number of one that there is, or 'content', what it is",
        )
    others = {key: value for key, value in given.items() if key != "content"}
    return {**others, "deployment": name, "revision": content if revision is None else revision}


def _told(result: StartResult) -> tuple[Line, ...]:
    name = result.deployment
    if result.rollout is None:
        strong = f"The rollout of {name} is started, but no worker has taken it up yet"
        return (Line(strong=strong, text="; it waits until one runs ('python -m worker').", tone=Tone.WARN),)
    blue = "nothing" if result.from_revision is None else f"r{result.from_revision}"
    return (
        Line(
            text=f"Rollout {result.rollout} of {name} has begun: {blue} → r{result.to_revision}. "
            f"Follow it with: celadon rollout watch {name}",
        ),
    )


COMMAND = Command(
    verb="start",
    scope=Scope.FLEET,
    place=20,
    about="Start a rollout; answers when it is registered.",
    right=Verb.START,
    request=RolloutRequest,
    result=StartResult,
    run=start,
    told=_told,
    rest=Rest(
        path="/rollouts",
        name="start_rollout",
        status=202,
        about="Start a rollout; the body is a deployment file as JSON.",
    ),
    graph=Graph(
        mutation="start_rollout",
        model=StartInput,
        read=_request_of,
        about_input="A rollout that is to be started: ``revision`` names one that there is, ``content`` describes one.",
        about_payload="A rollout is started.",
        about_answer="The rollout that was started, or why none was.",
        shown={
            "deployment": "@deployment?",
            "rollout": "@rollout?",
            "workflow_id": "workflow_id",
            "run_id": "run_id",
        },
    ),
    terminal=Terminal(words=("rollout", "start"), is_there=False),
)
