"""Do routers take their routes, and are they all there."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from celadon.cli.doctor.findings import Diagnosis, fine, odd, wrong
from celadon.cli.doctor.keeper import start_on_stack
from celadon.domain.enrolment import CERTIFICATE_EXPIRES_SOON
from celadon.domain.moments import span
from celadon.stack.addresses import StackAddresses
from celadon.table.inspection import Inspection, RouterFinding

CUT_OFF_AFTER: Final = timedelta(seconds=30)
"""A gateway writes every 3 s that a router's stream is up."""

_WAITED_FOR: Final = "a promotion waits for it, and blue is not stopped before it has acknowledged"


def check_routers(inspection: Inspection, stack: StackAddresses | None) -> Iterator[Diagnosis]:
    """Say which routers are silent, refuse what they are told, or are gone; only a person can start or remove one."""
    if not any(router.live for router in inspection.routers) and not _has_nothing_to_do(inspection):
        why = "nobody can reach a deployment"
        next_step = (
            "enrol one with 'celadon router enrol NAME', start Envoy as that says, and see that the gateway runs"
            if stack is None
            else start_on_stack("router", stack)
        )
        told = "none is live"
        yield (wrong if inspection.live_deployments else odd)("routers", told, why=why, next_step=next_step)
    for router in inspection.routers:
        yield _judge(router, inspection.at)
        if router.certificate_expires_at is not None:
            yield from _judge_certificate(router.router, router.certificate_expires_at - inspection.at)


def _has_nothing_to_do(inspection: Inspection) -> bool:
    """Whether routers are connected and merely wait for the first deployment."""
    return not inspection.live_deployments and any(
        not router.acknowledged and router.seen_at is not None and inspection.at - router.seen_at < CUT_OFF_AFTER
        for router in inspection.routers
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


def _judge(router: RouterFinding, now: datetime) -> Diagnosis:
    check = f"router {router.router}"
    if not router.enrolled:
        return wrong(
            check,
            "is not enrolled",
            why="no gateway lets it in, so it hears of no switch; clients see the routes that it has",
            next_step=f"enrol it with 'celadon router enrol {router.router}', or forget it",
        )
    if router.seen_at is None:
        return fine(check, "enrolled, has not connected yet")
    unseen = now - router.seen_at
    forget = f"if it is gone for good, say so with 'celadon router forget {router.router}'"
    if router.nack:
        return wrong(
            check,
            f"refused its last configuration: {router.nack}",
            why=f"it serves the one before; {_WAITED_FOR}",
            next_step="compare its version with the one that Celadon is tested with",
        )
    if not router.acknowledged:
        return fine(check, "connected, has nothing to acknowledge yet")
    if not router.live:
        return odd(
            check,
            f"has not been seen for {span(unseen)}",
            why="it is not waited for; if it still serves, its clients see old routes",
            next_step=f"start it again if it should serve; {forget}",
        )
    if router.behind and unseen > CUT_OFF_AFTER:
        return wrong(
            check,
            f"has not been seen for {span(unseen)} and lacks the present state of {', '.join(router.behind)}",
            why=_WAITED_FOR,
            next_step=f"see that it runs and reaches the gateway {router.gateway}; {forget}",
        )
    if router.behind:
        return odd(
            check,
            f"has not acknowledged the present state of {', '.join(router.behind)} yet",
            why=_WAITED_FOR,
            next_step="check again; if it stays so, see its log and the gateway's",
        )
    if unseen > CUT_OFF_AFTER:
        return odd(
            check,
            f"has not been seen for {span(unseen)}",
            why=f"it may not hear of the next switch; {_WAITED_FOR}",
            next_step=f"see that it runs and reaches the gateway {router.gateway}; {forget}",
        )
    return fine(check, f"live, through gateway {router.gateway}")
