"""Start a rollout."""

# ruff: noqa: PLC0415 - declaring a command needs neither a database nor Temporal

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, assert_never

from pydantic import JsonValue

from celadon.domain.decisions.new_revision import check_new_revision
from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.commands import UNDECLARED, NamedRevision, Reason
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.limits import quoted
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import RevisionNumber, RolloutId
from celadon.domain.language.next_rollout import StartState, WaitingRollout
from celadon.domain.language.permissions import Verb
from celadon.service.command import Call, Command, Graph, Line, Option, Rest, Scope, Terminal, Tone
from celadon.service.typed import ALLOW_PLAIN_SECRETS, DEPLOYMENT_FILE, POLICY_FILE

if TYPE_CHECKING:
    from celadon.client.rollouts import RolloutEnded
    from celadon.table.records.rollouts import RolloutRecord
    from celadon.table.rollouts.placing import Met

_SETTLES_WITHIN: Final = 10.0
_LOOKS_AGAIN: Final = 0.05
"""Seconds: how long, and how often, a start asks again while table and Temporal disagree."""


SHOWN: Final[Mapping[str, str]] = {
    "deployment": "@deployment?",
    "rollout": "@rollout?",
    "workflow_id": "workflow_id",
    "run_id": "run_id",
    "state": "state",
    "waiting": "waiting",
    "replaced": "replaced",
}
"""What GraphQL shows of a start."""


class StartResult(Record):
    """The answer to a start."""

    deployment: str
    """The deployment's name."""
    workflow_id: str
    """The id of its workflow in Temporal."""
    run_id: str
    """The id of the workflow's run in Temporal; empty when none was started."""
    rollout: RolloutId | None
    """Nothing while no worker has taken it up. The rollout that is under way when this request waits for its turn, or
    when there was nothing to do."""
    from_revision: RevisionNumber | None
    """Blue's revision; nothing for a first deployment, or while no worker has taken it up."""
    to_revision: RevisionNumber | None
    """Green's revision; nothing while no worker has taken it up."""
    state: StartState = StartState.STARTED
    """Whether it was started, waits for its turn, or there was nothing to do."""
    waiting: WaitingRollout | None = None
    """What waits for its turn, where that is what was asked for."""
    replaced: WaitingRollout | None = None
    """What waited before, and waits no more because this request has taken its place."""


class StartInput(StrictModel):
    """What GraphQL is told of a start: the revision's number and its content are two fields there."""

    revision: NamedRevision | None = None
    """The number of a revision that the deployment has; give this or ``content``."""
    content: dict[str, JsonValue] | None = None
    """What is to be served and how, as a deployment file writes it; give this or ``revision``."""
    replicas: int | None = None
    policy: dict[str, JsonValue] | None = None
    labels: dict[str, str] | None = None
    traffic: dict[str, JsonValue] | None = None
    reason: Reason = ""
    allow_plain_secrets: bool = False
    restart: bool = False


async def start(call: Call[RolloutRequest]) -> StartResult:
    """Start a rollout and wait a moment until it is registered."""
    from celadon.table.rollouts.hosts import refuse_claims
    from celadon.table.rollouts.rights import rights_to_request

    request, service, who = call.request, call.service, call.who
    refuse_other_requester(call)
    check_new_revision(request.revision)
    async with service.transaction() as tx:
        exists = await service.is_there(tx, who, request.deployment)
        # The table judges the same again when the rollout begins; here the caller is told before anything starts.
        for right in await rights_to_request(tx, request):
            who.require([right.verb], right.why)
        await refuse_claims(tx, request.deployment, request.traffic, service.host_rules(who))
    if not exists:
        who.require_scope(request.labels or {})
    met = await _meet(call, request)
    return met if isinstance(met, StartResult) else _started(request, *met)


async def _meet(
    call: Call[RolloutRequest], request: RolloutRequest
) -> "StartResult | tuple[str, RolloutRecord | None]":
    """Start a rollout, unless what it wants is there, or it waits behind one that is under way.

    For a moment the table and Temporal may disagree on whether one is under way: it begins, or has just ended.
    """
    from celadon.table.rollouts.placing import meet

    service, who = call.service, call.who
    request_id = service.update_id(call)
    named = request.model_copy(update={"requested_by": who.name})
    known = None if request_id is None else await (await service.rollout_client()).run_of(named.deployment, request_id)
    patience = time.monotonic() + _SETTLES_WITHIN
    while True:
        if known is None:
            async with service.transaction() as tx:
                met = await meet(
                    tx,
                    named,
                    service.author_of_start(who, request.reason),
                    service.rights(who),
                    require=lambda verb, why: who.require([verb], why),
                    request_id=request_id or "",
                    hosts=service.host_rules(who),
                )
            if met is not None:
                return _met(named, met)
        try:
            return await begin_rollout(call, request, request_id)
        except RefusedError as error:
            if error.refusal.code is not RefusalCode.ROLLOUT_RUNNING or time.monotonic() > patience:
                raise
        await asyncio.sleep(_LOOKS_AGAIN)


def _met(request: RolloutRequest, met: "Met") -> StartResult:
    return StartResult(
        deployment=request.deployment,
        workflow_id=workflow_id(request.deployment),
        run_id="",
        rollout=met.rollout,
        from_revision=met.live,
        to_revision=met.revision,
        state=met.state,
        waiting=met.waiting,
        replaced=met.replaced,
    )


def _started(request: RolloutRequest, run_id: str, found: "RolloutRecord | None") -> StartResult:
    return StartResult(
        deployment=request.deployment,
        workflow_id=workflow_id(request.deployment),
        run_id=run_id,
        rollout=None if found is None else found.rollout,
        from_revision=None if found is None else found.from_revision,
        to_revision=None if found is None else found.to_revision,
    )


def refuse_other_requester(call: Call[RolloutRequest]) -> None:
    """Refuse a request in the name of somebody else than the caller.

    Raises:
        RefusedError: with code ``INVALID_PAYLOAD``.

    """
    if call.request.requested_by not in {UNDECLARED, call.who.name}:
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"requested_by is {quoted(call.request.requested_by)}, but {call.who.name} asks",
            "leave it out: the audit log names whoever the token belongs to",
        )


async def begin_rollout(
    call: Call[Any], request: RolloutRequest, request_id: str | None
) -> "tuple[str, RolloutRecord | None]":
    """Start a rollout in the caller's name, and wait a moment until it is registered.

    The workflow of a rollout closes a moment after the rollout has ended; a start in between waits for that.

    Args:
        call: by whom and through which door.
        request: what is to be rolled out.
        request_id: a repeat with the same one finds the run that the first one started.

    Returns:
        The workflow's run, and the rollout; ``None`` for the latter while no worker has taken it up.

    Raises:
        RefusedError: a rollout of the deployment is under way, or the table refused it; it says why.

    """
    from celadon.table.rollouts.placing import read_under_way

    service, who = call.service, call.who
    named = request.model_copy(update={"requested_by": who.name})
    named = RolloutRequest.model_validate(named.model_dump(mode="json", exclude_unset=True), strict=False)
    rollouts = await service.rollout_client()
    patience = time.monotonic() + _SETTLES_WITHIN
    while True:
        try:
            run_id = await rollouts.start(named, request_id=request_id or "", sender=service.sender(who))
            break
        except RefusedError as error:
            if error.refusal.code is not RefusalCode.ROLLOUT_RUNNING or time.monotonic() > patience:
                raise
            async with service.transaction() as tx:
                under_way, _ = await read_under_way(tx, request.deployment)
            if under_way is not None:
                raise
        await asyncio.sleep(_LOOKS_AGAIN)
    return run_id, await until_begun(call, request.deployment, run_id)


async def until_begun(call: Call[Any], deployment: str, run_id: str) -> "RolloutRecord | None":
    """Wait a moment until a run that was started has registered its rollout; ``None`` while no worker has taken it up.

    Raises:
        RefusedError: it ended at once; it says why.

    """
    from celadon.client.registering import until_registered
    from celadon.client.rollouts import RolloutEnded
    from celadon.table.read.history import rollout_of_run

    async def look() -> "RolloutRecord | None":
        async with call.service.transaction() as tx:
            return await rollout_of_run(tx, workflow_id(deployment), run_id)

    rollout = await until_registered(await call.service.rollout_client(), deployment, run_id, look)
    if isinstance(rollout, RolloutEnded):
        raise _refused_at_once(deployment, rollout)
    return rollout


def _refused_at_once(name: str, ended: "RolloutEnded") -> RefusedError:
    if ended.refusal is not None:
        return RefusedError(ended.refusal)
    return refuse(
        RefusalCode.ROLLOUT_ENDED,
        f"the rollout of {name} ended at once: {ended.failure or ended.status}",
        "see its workflow in Temporal",
    )


def request_of_input(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
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


def start_summary(result: StartResult) -> tuple[Line, ...]:
    """Return what a start has come to, as the terminal says it."""
    name = result.deployment
    match result.state:
        case StartState.STARTED:
            return _told_start(result)
        case StartState.ALREADY_THERE:
            return (_told_already_there(result),)
        case StartState.WAITS:
            return tuple(_told_waiting(name, result))
        case _ as unreachable:
            assert_never(unreachable)


def _told_already_there(result: StartResult) -> Line:
    if result.waiting is not None:
        where = f"waits for {result.waiting.waits_for}"
    elif result.rollout is not None:
        where = f"is under way as rollout {result.rollout}"
    else:
        where = "is live with these replicas"
    return Line(
        strong="Nothing to do",
        text=f": r{result.to_revision} of {result.deployment} {where}. To roll it out once more, add --restart.",
    )


def _told_waiting(name: str, result: StartResult) -> Iterator[Line]:
    waits = result.waiting
    until = "" if waits is None else f" for {waits.waits_for}"
    yield Line(strong="Waiting", text=f": r{result.to_revision} of {name} waits{until}.", tone=Tone.WARN)
    if result.replaced is not None:
        before = result.replaced
        yield Line(text=f"  It has taken the place of r{before.revision}, which {before.requested_by} had asked for.")
    yield Line(text=f"Follow it with: celadon rollout watch {name}; drop it with: celadon drop {name}")


def _told_start(result: StartResult) -> tuple[Line, ...]:
    name = result.deployment
    if result.rollout is None:
        strong = f"The rollout of {name} is started, but no worker has taken it up yet"
        return (Line(strong=strong, text="; it waits until one runs ('celadon worker').", tone=Tone.WARN),)
    blue = "nothing" if result.from_revision is None else f"r{result.from_revision}"
    return (
        Line(
            text=f"Rollout {result.rollout} of {name} has begun: {blue} → r{result.to_revision}. "
            f"Follow it with: celadon rollout watch {name}",
        ),
    )


_RESTART: Final = Option(help="Roll it out once more, even if it is live, under way or waiting already.")
_AT_A_START: Final[Mapping[str, Any]] = {
    "switches": {
        "dry_run": "Only say what would happen, as 'celadon plan' does; exits 1 if it were refused.",
    },
    "wait": "Follow the rollout to its end; exits 0 only when it was promoted.",
    "takes_id": True,
    "may_ask": True,
}
"""How every start is typed."""


COMMAND = Command(
    verb="start",
    scope=Scope.FLEET,
    place=20,
    about="Start a rollout; answers when it is registered.",
    right=Verb.START,
    request=RolloutRequest,
    result=StartResult,
    can_be_scheduled=True,
    run=start,
    summary=start_summary,
    rest=Rest(
        path="/rollouts",
        name="start_rollout",
        status=202,
        about="Start a rollout; the body is a deployment file as JSON.",
    ),
    graph=Graph(
        mutation="start_rollout",
        model=StartInput,
        read=request_of_input,
        about_input="A rollout that is to be started: ``revision`` names one that there is, ``content`` describes one.",
        about_payload="A rollout is started.",
        about_answer="The rollout that was started, or why none was.",
        shown=SHOWN,
    ),
    terminal=Terminal(
        words=("rollout", "start"),
        hook="celadon.cli.starting:start_revision",
        takes_settings=True,
        options={
            "deployment": Option(),
            "revision": Option(help="A revision that the deployment has had before.", metavar="N"),
            "restart": _RESTART,
            "reason": Option(),
        },
        help="""Roll out a revision that the deployment has had before.

        Examples:
        ```console
        celadon rollout history chat                # which revisions there were
        celadon rollout start chat --revision 1 --reason "r2 answers slowly"
        celadon rollout start chat --revision 1 --set policy.auto_promote=true --wait
        ```
        """,
        **_AT_A_START,
    ),
    more_terminals=(
        Terminal(
            words=("deploy",),
            panel="Roll out",
            hook="celadon.cli.starting:deploy",
            file=DEPLOYMENT_FILE,
            policy_file=POLICY_FILE,
            takes_settings=True,
            options={"allow_plain_secrets": ALLOW_PLAIN_SECRETS, "restart": _RESTART, "reason": Option()},
            help="""Roll out what a deployment file describes.

            The rollout opens a green set, waits until it is healthy, awaits its promotion (yours, or its timer's),
            switches traffic, and drains blue. The command says what changes, and returns when the rollout has begun.
            Replicas that the file does not give stay as they are (1 for a new deployment). Nothing is started when what
            the file describes is live, under way or waiting, unless --restart is given; a repeat with the same
            --request-id gets the first answer. While another rollout is under way, policy.on_new_revision says what
            becomes of this one: reject refuses it, queue lets it wait for the other's end, and replace ends the other
            one for it.

            A deployment file:
            ```yaml
            deployment: chat
            replicas: 3
            revision:
              command: [python, -m, my_server, --port, "{port}"]
              env: {MODEL: llama-3-8b, TOKEN: {secret: hub-token}}
              health_check: {preset: openai, model: llama-3-8b}
            policy: {auto_promote: true, promote_after: 5m, bake: 10m}
            reason: new weights
            ```
            Examples:
            ```console
            celadon deploy -f chat.yaml
            celadon deploy -f chat.yaml --policy careful.policy.yaml
            celadon deploy -f chat.yaml --set replicas=5 --reason "more traffic"
            celadon deploy -f chat.yaml --dry-run
            celadon deploy -f chat.yaml --wait --timeout 30m
            generate-deployment | celadon deploy -f -
            ```
            """,
            **_AT_A_START,
        ),
    ),
)
