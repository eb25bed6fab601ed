"""Change how routers treat the requests to a deployment."""

# ruff: noqa: PLC0415 - declaring a command needs no database

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from celadon.domain.language.base_models import Record
from celadon.domain.language.commands import Reason
from celadon.domain.language.permissions import Verb
from celadon.domain.language.plan import FieldChange
from celadon.domain.language.traffic import TrafficKey, TrafficSettings
from celadon.service.command import Call, Command, Graph, Line, Option, Rest, Scope, Terminal
from celadon.service.typed import TRAFFIC_OPTIONS


class TrafficRequest(TrafficSettings):
    """Asks for other settings; what is neither given nor reset stays as it is."""

    reset: Annotated[tuple[Annotated[TrafficKey, Field(strict=False)], ...], Field(max_length=len(TrafficKey))] = ()
    """Settings that are to have their default again."""
    reason: Reason = ""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        for key in self.reset:
            if getattr(self, key) is not None:
                raise ValueError(f"{key.value} is both given and reset: leave one of them out")
        return self


class TrafficResult(Record):
    """The answer to other settings of a deployment's traffic."""

    deployment: str
    """The deployment's name."""
    changed: bool
    """False when they were so already; then nothing was written."""
    changes: tuple[FieldChange, ...]
    """What is other than before."""
    traffic: TrafficSettings
    """All of them as they are now; what is not given has its default."""


async def traffic(call: Call[TrafficRequest]) -> TrafficResult:
    """Change the settings; routers follow at once, and no rollout is needed."""
    from celadon.table.rollouts.traffic import set_traffic

    service, request = call.service, call.request
    async with service.serving(call, [Verb.SET_TRAFFIC]) as tx:
        author = service.author(call.who, request.reason)
        done = await set_traffic(tx, call.subject, request, request.reset, author)
    return TrafficResult(
        deployment=call.subject, changed=bool(done.changes), changes=done.changes, traffic=done.settings
    )


def _summary(result: TrafficResult) -> tuple[Line, ...]:
    name = result.deployment
    if not result.changed:
        return (Line(text=f"The traffic of {name} is treated so already; nothing was changed."),)
    return (
        *(Line(text=f"  {one.field}: {one.before} → {one.after}") for one in result.changes),
        Line(text=f"Routers treat the traffic of {name} so from now on; requests that run are not touched."),
    )


def _says_nothing(typed: Mapping[str, Any]) -> tuple[str, str] | None:
    if typed["reset"] or any(typed[key.value] is not None for key in TrafficKey):
        return None
    return ("name at least one setting, for example --max-requests 500, or --reset KEY", "")


COMMAND = Command(
    verb="traffic",
    scope=Scope.DEPLOYMENT,
    place=103,
    about="Change how routers treat the requests to a deployment; what is not given stays.",
    right=Verb.SET_TRAFFIC,
    request=TrafficRequest,
    result=TrafficResult,
    run=traffic,
    summary=_summary,
    rest=Rest(
        method="PATCH", path="/deployments/{name}/traffic", name="set_traffic", takes_id=False, twice_is_once=True
    ),
    graph=Graph(
        mutation="set_deployment_traffic",
        about_payload="Routers treat the requests to a deployment so.",
        about_answer="What changed, or why nothing did.",
        shown={"deployment": "@deployment", "changed": "changed", "changes": "changes", "traffic": "traffic"},
    ),
    terminal=Terminal(
        words=("deployment", "traffic"),
        check=_says_nothing,
        options={
            **TRAFFIC_OPTIONS,
            "reset": Option(help="A setting that is to have its default again. May be repeated.", metavar="KEY"),
        },
        help="""Change how routers treat the requests to a deployment; what is not given stays as it is.

        Routers follow at once, without a rollout, and requests that run are not touched. A deployment file says the
        same under 'traffic'. 'celadon deployment show' shows what differs from the defaults.

        Examples:
        ```console
        celadon deployment traffic chat --max-requests 500 --reason "two GPUs, 250 each"
        celadon deployment traffic chat --max-body 64MiB --idle-timeout 10m --retries 0
        celadon deployment traffic chat --load-balancing maglev:x-session-id
        celadon deployment traffic chat --reset max_requests --reset max_body
        ```
        """,
    ),
)
