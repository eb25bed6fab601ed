"""Whether anything of a deployment is still under way: in the table, among the processes, on the routers."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from tests.chaos.processes import ProcessWatch
from tests.chaos.site import Site
from tests.chaos.subject import REPLICAS, Subject

CLEAN_WITHIN: Final = 180.0


async def settle(site: Site, subject: Subject, processes: ProcessWatch) -> list[str]:
    """Wait until nothing of a subject is under way; return what still is when that lasts too long."""
    deadline = time.monotonic() + CLEAN_WITHIN
    while True:
        left = await unclean(site, subject, await processes.newest()) or await _unserved(site, subject)
        if not left or time.monotonic() > deadline:
            return left


async def unclean(site: Site, subject: Subject, processes: Mapping[str, Sequence[int]]) -> list[str]:
    """Return what is not (yet) as it is when nothing is under way."""
    wrong: list[str] = []
    (deployment,) = await site.rows(
        "select live_set, epoch, lifecycle from deployments where name = :name", name=subject.name
    )
    sets = await site.rows("select id, state, wanted from route_sets where deployment = :name", name=subject.name)
    routes = await site.rows(
        "select routes.id, set_id, status, health, ended_at from routes join route_sets on route_sets.id = set_id "
        "where deployment = :name",
        name=subject.name,
    )
    unfinished = await site.rows(
        "select id, phase from rollouts where deployment = :name and outcome is null", name=subject.name
    )
    owed = await site.rows(
        "select signal from outbox where workflow_id = :workflow", workflow=f"rollout-{subject.name}"
    )
    live = deployment["live_set"]
    if deployment["lifecycle"] != "ready":
        wrong.append(f"the deployment is {deployment['lifecycle']}")
    wrong += [f"rollout {row['id']} is unfinished in {row['phase']}" for row in unfinished]
    wrong += [f"the outbox still owes {row['signal']}" for row in owed]
    wrong += [
        f"set {row['id']} is {row['state']} and not live"
        for row in sets
        if row["state"] != "gone" and row["id"] != live
    ]
    running = {str(row["id"]): row for row in routes if row["ended_at"] is None}
    wrong += [
        f"route {route} of set {row['set_id']} runs and is not live"
        for route, row in running.items()
        if row["set_id"] != live
    ]
    wrong += [
        f"route {route} is {row['status']} and {row['health']}"
        for route, row in running.items()
        if (row["status"], row["health"]) != ("running", "healthy")
    ]
    if len(running) != REPLICAS:
        wrong.append(f"{len(running)} routes are unfinished instead of {REPLICAS}")
    known = {str(row["id"]) for row in routes}
    wrong += [f"replica {route} runs and its route has ended" for route in (processes.keys() & known) - running.keys()]
    wrong += [
        f"replica {route} does not run and its route has not ended" for route in running.keys() - processes.keys()
    ]
    return wrong


async def _unserved(site: Site, subject: Subject) -> list[str]:
    """Return the routers that do not answer with the revision that is live."""
    rows = await site.rows(
        "select content -> 'command' as command from deployments "
        "join route_sets on route_sets.id = live_set "
        "join revisions on revisions.deployment = name and number = revision where name = :name",
        name=subject.name,
    )
    command = rows[0]["command"] if rows else []
    label = command[command.index("--label") + 1] if command else ""
    answers = {router.node: await subject.answers(router.live) for router in site.addresses.routers}
    return [
        f"router {node} answers {answer!r} and not {label!r}" for node, answer in answers.items() if answer != label
    ]
