"""Give a deployment other host names of its own."""

# ruff: noqa: PLC0415 - declaring a command needs no database

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.commands import Reason
from celadon.domain.language.permissions import Verb
from celadon.domain.language.traffic import Hosts
from celadon.service.command import Call, Command, Graph, Line, Option, Rest, Scope, Terminal


class HostsRequest(StrictModel):
    """Asks for other host names; the whole set is replaced."""

    hosts: Hosts
    """All host names that the deployment is to have beside its name."""
    reason: Reason = ""


class HostsResult(Record):
    """The answer to other host names."""

    deployment: str
    """The deployment's name."""
    hosts: tuple[str, ...]
    """The host names that it has now beside its name."""
    changed: bool
    """False when it had the same already; then nothing was written."""


async def hosts(call: Call[HostsRequest]) -> HostsResult:
    """Give the deployment other host names; routers follow at once, and no rollout is needed."""
    from celadon.table.rollouts.hosts import set_hosts

    service, who = call.service, call.who
    async with service.serving(call, [Verb.SET_HOSTS]) as tx:
        author = service.author(who, call.request.reason)
        now, changed = await set_hosts(tx, call.subject, call.request.hosts, author, service.host_rules(who))
    return HostsResult(deployment=call.subject, hosts=now, changed=changed)


def _summary(result: HostsResult) -> tuple[Line, ...]:
    host_list = ", ".join(result.hosts) or "no host of its own"
    return (
        Line(text=f"{result.deployment} has {host_list}{'' if result.changed else ' already; nothing was changed'}."),
    )


COMMAND = Command(
    verb="hosts",
    scope=Scope.DEPLOYMENT,
    place=102,
    about="Give a deployment other host names of its own.",
    right=Verb.SET_HOSTS,
    request=HostsRequest,
    result=HostsResult,
    run=hosts,
    summary=_summary,
    rest=Rest(method="PUT", path="/deployments/{name}/hosts", name="set_hosts", takes_id=False),
    graph=Graph(
        mutation="set_deployment_hosts",
        about_input="Asks for other host names; the whole set is replaced.",
        about_payload="A deployment has these host names of its own.",
        about_answer="Whether the host names changed, or why they stay.",
        shown={"deployment": "@deployment", "hosts": "hosts", "changed": "changed"},
    ),
    terminal=Terminal(
        words=("deployment", "hosts"),
        options={
            "hosts": Option(help="All host names of its own.", metavar="[HOST]...", is_argument=True, parse=tuple),
        },
        switches={"clear": "Give up all host names of its own."},
        check=lambda typed: (
            ("name the hosts that it shall have, or give all up with --clear", "")
            if bool(typed["hosts"]) is typed["clear"]
            else None
        ),
        help="""Give a deployment other host names of its own; hosts that are not named are given up.

        Routers follow at once, without a rollout. Which hosts may be claimed, the operator lists in CELADON_HOSTS; a
        host belongs to one deployment.

        Examples:
        ```console
        celadon deployment hosts chat llm.example.com www.llm.example.com --reason "opened to customers"
        celadon deployment hosts chat --clear
        ```
        """,
    ),
)
