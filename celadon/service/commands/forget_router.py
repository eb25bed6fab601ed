"""Treat a router as gone."""

# ruff: noqa: PLC0415 - declaring a command needs no database

from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.commands import Reason
from celadon.domain.language.permissions import Verb
from celadon.service.change_log import log_change
from celadon.service.command import Call, Command, Graph, Line, Option, Rest, Scope, Terminal
from celadon.table.records.changes import Forgotten


class ForgetRouterRequest(StrictModel):
    """Says that a router is gone for good; with force also one that is connected."""

    reason: Reason = ""
    """Why, for the audit log."""
    force: bool = False
    """Also when it is connected."""


async def forget_router(call: Call[ForgetRouterRequest]) -> Forgotten:
    """Treat a router as gone, so that nobody waits for it."""
    from celadon.table.routers.router_admin import forget_router as forget

    request, author = call.request, call.service.author(call.who, call.request.reason)
    async with call.service.transaction() as tx:
        forgotten = await forget(tx, call.subject, author=author, force=request.force)
    if forgotten.changed:
        log_change(
            "router_forgotten",
            router=call.subject,
            by=call.who.name,
            reason=request.reason,
            was=forgotten.was.value,
            forced=request.force,
        )
    return forgotten


def _summary(result: Forgotten) -> tuple[Line, ...]:
    if not result.changed:
        return (Line(text=f"Router {result.router} was gone already; nobody waits for it."),)
    return (
        Line(
            text=f"Router {result.router} is forgotten: no promotion and no drain waits for it. "
            "No gateway lets it in until it is enrolled again.",
        ),
    )


COMMAND = Command(
    verb="forget_router",
    scope=Scope.FLEET,
    place=110,
    about="Treat a router as gone, so that nothing waits for its acknowledgements.",
    right=Verb.FORGET_ROUTER,
    request=ForgetRouterRequest,
    result=Forgotten,
    run=forget_router,
    summary=_summary,
    rest=Rest(
        method="DELETE",
        path="/routers/{node}",
        in_query=True,
        takes_id=False,
        subject="The router's name: its node id in Envoy.",
    ),
    graph=Graph(
        mutation="forget_router",
        subject="router",
        about_subject="The router's name: its node id in Envoy.",
        about_input="Says that a router is gone for good; with force also one that is connected.",
        about_payload="Nobody waits for a router any more.",
        about_answer="What the router was, or why it is not forgotten.",
        shown={"router_id": "router", "was": "was", "changed": "changed"},
    ),
    terminal=Terminal(
        words=("router", "forget"),
        node="The router's name, as in the list.",
        options={
            "force": Option(
                help="Also when it is connected: for one that hangs or refuses what it is told. Requests that it still "
                "sends to blue are lost when blue stops.",
            ),
        },
        help="""Treat a router as gone for good: nothing waits for it any more, and no gateway accepts it.

        Use it when you scale routers in, after the router has stopped: an Envoy that ends looks like one that was cut
        off, and those are waited for 10 minutes. Use it, with --force, when its key may be known to others: its
        certificates stop counting and its streams end. It comes back once it is enrolled again. The audit log of each
        deployment that it has served tells who forgot it and why.

        Examples:
        ```console
        celadon router forget edge-3 --reason "scaled in"
        celadon router forget edge-2 --force --reason "hangs, taken out of the load balancer"
        ```
        """,
    ),
)
