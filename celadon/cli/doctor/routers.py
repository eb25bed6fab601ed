"""Do routers take their routes, and are they all there."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, assert_never

from celadon.cli.doctor.findings import Diagnosis, fine, odd, wrong
from celadon.cli.doctor.keeper import start_on_stack
from celadon.domain.decisions.enrolment import CERTIFICATE_EXPIRES_SOON
from celadon.domain.language.moments import span
from celadon.domain.language.traffic import DEFAULT_MAX_REQUESTS
from celadon.stack.addresses import StackAddresses
from celadon.table.read.inspection import Inspection, RouterFinding
from celadon.table.records.routers import RouterState

_WAITED_FOR: Final = "a promotion waits for it, and blue is not stopped before it has acknowledged"


def check_routers(inspection: Inspection, stack: StackAddresses | None) -> Iterator[Diagnosis]:
    """Say which routers are silent, refuse what they are told, or are gone; only a person can start or remove one."""
    waited_for = [router for router in inspection.routers if router.state in {RouterState.LIVE, RouterState.CUT_OFF}]
    if not waited_for and not _has_nothing_to_do(inspection):
        why = "nobody can reach a deployment"
        next_step = (
            "enrol one with 'celadon router enrol NAME', start Envoy as that says, and see that the gateway runs"
            if stack is None
            else start_on_stack("router", stack)
        )
        finding = "none is live"
        yield (wrong if inspection.live_deployments else odd)("routers", finding, why=why, next_step=next_step)
    for router in inspection.routers:
        yield _judge(router, inspection.at)
        if router.stream_is_up and not router.takes_limits:
            yield _without_limits(router.router)
        if router.certificate_expires_at is not None:
            yield from _judge_certificate(router.router, router.certificate_expires_at - inspection.at)


def _has_nothing_to_do(inspection: Inspection) -> bool:
    """Whether routers are connected and merely wait for the first deployment."""
    return not inspection.live_deployments and any(
        router.state is RouterState.NEW and router.stream_is_up for router in inspection.routers
    )


def _judge_certificate(router: str, left: timedelta) -> Iterator[Diagnosis]:
    """Say that a certificate expires soon; without one the router hears of no switch."""
    if left >= CERTIFICATE_EXPIRES_SOON:
        return
    expired = left <= timedelta(0)
    yield (wrong if expired else odd)(
        f"certificate of router {router}",
        "has expired" if expired else f"expires in {span(left)}",
        why=f"no gateway lets a router in whose certificate has expired; {_WAITED_FOR}",
        next_step=f"give it a new one: 'celadon router enrol {router} --rotate --to DIR', or one of your own CA",
    )


def _without_limits(router: str) -> Diagnosis:
    """Say that a router counts by the default alone; it serves all the same."""
    return odd(
        f"limits of router {router}",
        "its bootstrap asks for no limits of requests",
        why=(
            f"it lets {DEFAULT_MAX_REQUESTS:,} requests of each deployment run at a time, "
            "whatever the deployment's max_requests says"
        ),
        next_step=(
            f"write its bootstrap anew with 'celadon router enrol {router}', with the options of its enrolment, "
            "and start its Envoy anew"
        ),
    )


def _judge(router: RouterFinding, now: datetime) -> Diagnosis:
    check = f"router {router.router}"
    if not router.enrolled:
        return wrong(
            check,
            "is not enrolled",
            why="no gateway lets it in, so it hears of no switch; clients see the routes that it has",
            next_step=f"enrol it with 'celadon router enrol {router.router}', or forget it",
        )
    if router.seen_at is None or router.state is RouterState.ENROLLED:
        return fine(check, "enrolled, has not connected yet")
    unseen = span(now - router.seen_at)
    forget = f"if it is gone for good, say so with 'celadon router forget {router.router}'"
    look = f"see that it runs and reaches the gateway {router.gateway}; {forget}"
    if router.nack and router.stream_is_up:
        return wrong(
            check,
            f"refused its last configuration: {router.nack}",
            why=f"it serves the one before; {_WAITED_FOR}",
            next_step="compare its version with the one that Celadon is tested with",
        )
    lacks = f"the present state of {', '.join(router.behind)}"
    match router.state:
        case RouterState.GONE:
            return odd(
                check,
                f"has not been seen for {unseen}",
                why="it is not waited for; if it still serves, its clients see old routes",
                next_step=f"start it again if it should serve; {forget}",
            )
        case RouterState.NEW if router.stream_is_up:
            return fine(check, "connected, has nothing to acknowledge yet")
        case RouterState.NEW:
            return odd(
                check,
                f"has connected once, but is not connected now; seen {unseen} ago",
                why="it has no routes, so nobody gets through it; it is not waited for",
                next_step=look,
            )
        case RouterState.CUT_OFF:
            behind = f" and lacks {lacks}" if router.behind else ""
            refusal = f"; it refused its last configuration: {router.nack}" if router.nack else ""
            return wrong(
                check,
                f"is cut off: it has not been seen for {unseen}{behind}{refusal}",
                why=f"it hears of no switch, and may have ended; {_WAITED_FOR}",
                next_step=look,
            )
        case RouterState.LIVE if router.behind:
            return odd(
                check,
                f"has not acknowledged {lacks} yet",
                why=_WAITED_FOR,
                next_step="check again; if it stays so, see its log and the gateway's",
            )
        case RouterState.LIVE:
            return fine(check, f"live, through gateway {router.gateway}")
        case _ as unreachable:
            assert_never(unreachable)
