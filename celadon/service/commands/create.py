"""Create a deployment without a rollout."""

# ruff: noqa: PLC0415 - declaring a command needs no database

from pydantic import Field

from celadon.domain.language.base_models import Record
from celadon.domain.language.commands import Reason
from celadon.domain.language.labels import Labels
from celadon.domain.language.messages import Replicas
from celadon.domain.language.names import DeploymentName
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.traffic import DEFAULT_SETTINGS, Hosts, TrafficSettings
from celadon.service.command import Call, Command, Graph, Line, Option, Rest, Scope, Terminal
from celadon.service.typed import TRAFFIC_OPTIONS, pairs_typed


class CreateRequest(TrafficSettings):
    """A deployment that is to exist; nothing of it runs before its first rollout."""

    deployment: DeploymentName
    """The deployment's name: a DNS label, and its address on the routers."""
    replicas: Replicas = 1
    """How many replicas each colour of its rollouts has, when they do not say."""
    policy: BlueGreenPolicy = BlueGreenPolicy()
    """How its rollouts may go, when they do not say."""
    labels: Labels = Field(default_factory=dict)
    """What API tokens are scoped by."""
    hosts: Hosts = ()
    """Host names of its own, beside its name."""
    reason: Reason = ""


class CreateResult(Record):
    """The answer to a creation."""

    deployment: str
    """The deployment's name."""
    created: bool
    """False when there was an equal one already."""


async def create(call: Call[CreateRequest]) -> CreateResult:
    """Create a deployment. Twice creates it once."""
    from celadon.table.records.deployments import NewDeployment
    from celadon.table.rollouts.registration import create_deployment

    request, service = call.request, call.service
    call.who.require_scope(request.labels)
    wanted = NewDeployment(
        name=request.deployment,
        replicas=request.replicas,
        policy=request.policy,
        labels=request.labels,
        hosts=request.hosts,
        settings=request.over(DEFAULT_SETTINGS),
    )
    async with service.transaction() as tx:
        await service.is_there(tx, call.who, request.deployment)
        created = await create_deployment(
            tx,
            wanted,
            service.author(call.who, request.reason),
            lambda verb, why: call.who.require([verb], why),
            service.host_rules(call.who),
        )
    return CreateResult(deployment=request.deployment, created=created)


def _summary(result: CreateResult) -> tuple[Line, ...]:
    name = result.deployment
    if result.created:
        return (Line(text=f"{name} is created; nothing runs before its first rollout: celadon deploy -f FILE"),)
    return (Line(text=f"{name} is there already, and the same; nothing was changed."),)


COMMAND = Command(
    verb="create",
    scope=Scope.FLEET,
    place=0,
    about="Create a deployment without a rollout. Twice creates it once.",
    right=Verb.CREATE,
    request=CreateRequest,
    result=CreateResult,
    run=create,
    summary=_summary,
    rest=Rest(path="/deployments", name="create_deployment", status=201, takes_id=False, twice_is_once=True),
    graph=Graph(
        mutation="create_deployment",
        subject="",
        renamed={"deployment": "name"},
        about_input="A deployment that is to exist.",
        about_payload="A deployment is there.",
        about_answer="The deployment that is there, or why it was not created.",
        shown={"deployment": "@deployment", "created": "created"},
    ),
    terminal=Terminal(
        words=("deployment", "create"),
        options={
            "deployment": Option(is_argument=True),
            "replicas": Option(help="The number of replicas.", metavar="N"),
            "policy": Option(help="A policy file: how its rollouts go when they say nothing."),
            "labels": Option(
                help="A label, by which tokens are scoped. May be repeated.",
                flag="--label",
                metavar="NAME=VALUE",
                parse=lambda given: pairs_typed(given, "--label"),
            ),
            "hosts": Option(help="A host name of its own. May be repeated.", flag="--host", metavar="HOST"),
            **TRAFFIC_OPTIONS,
        },
        help="""Create a deployment without rolling anything out; 'celadon deploy' does both at once.

        Nothing of it runs before its first rollout. Given again, the same command changes nothing; where another
        deployment has this name, it is refused.

        Examples:
        ```console
        celadon deployment create chat --replicas 3 --policy careful.policy.yaml --label team=search
        celadon deployment create chat --max-requests 500 --max-body 64MiB --load-balancing maglev:x-session-id
        celadon revision add -f chat.yaml && celadon rollout start chat --revision 1
        ```
        """,
    ),
)
