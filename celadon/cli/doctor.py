"""``celadon doctor``: is everything there, is somebody at work, is anything left lying. It changes nothing."""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from rich.text import Text
from temporalio.service import RPCError

from celadon.cli.ending import ExitCode
from celadon.cli.faults import CommandError
from celadon.cli.moments import span
from celadon.cli.output import OutputFormat, print_json, print_text
from celadon.cli.session import Session, open_session
from celadon.cli.table_access import database_faults_told
from celadon.client.connection import TemporalUnreachableError
from celadon.client.search_attributes import missing_search_attributes
from celadon.domain.strictness import Record
from celadon.table.inspection import Inspection, RouterFinding, UnfinishedFinding, inspect
from celadon.table.migrate import current_revision, newest_revision

SIGNALS_TAKEN_WITHIN: Final = timedelta(seconds=30)


class Verdict(StrEnum):
    """What a check found."""

    FINE = "fine"
    ODD = "odd"
    """Worth a look; nothing is broken."""
    WRONG = "wrong"


class Finding(Record):
    """What one check found, and what to do next when it is not fine."""

    check: str
    verdict: Verdict
    told: str
    next_step: str = ""


class CheckUp(Record):
    """What ``doctor -o json`` prints."""

    healthy: bool
    """Whether no finding is wrong."""
    findings: tuple[Finding, ...]


async def check_up(data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """Check everything and say what to do next; fails when something is wrong.

    Raises:
        CommandError: there is no Celadon to be checked.

    """
    findings: list[Finding] = []
    async with open_session(data_dir) as session:
        async for finding in _checks(session):
            findings.append(finding)
            if output is OutputFormat.TEXT:
                print_text(_describe(finding))
        target = session.target.described
    healthy = all(finding.verdict is not Verdict.WRONG for finding in findings)
    if output is OutputFormat.JSON:
        print_json(CheckUp(healthy=healthy, findings=tuple(findings)))
    else:
        print_text("", f"Checked {target}: " + ("[green]nothing is wrong.[/]" if healthy else "[red]not well.[/]"))
    return ExitCode.DONE if healthy else ExitCode.FAILED


async def _checks(session: Session) -> AsyncIterator[Finding]:
    schema = await _check_schema(session)
    yield schema
    inspection: Inspection | None = None
    if schema.verdict is not Verdict.WRONG:
        inspection = await session.read(inspect)
        for finding in _judge_table(inspection):
            yield finding
    yield (temporal := await _check_temporal(session))
    if temporal.verdict is Verdict.WRONG:
        return
    yield await _check_search_attributes(session)
    if inspection is not None:
        for unfinished in inspection.unfinished:
            yield await _check_workflow(session, unfinished)


async def _check_schema(session: Session) -> Finding:
    url = session.target.database_url
    try:
        with database_faults_told(url):
            current = await current_revision(url)
    except CommandError as error:
        return Finding(check="Postgres", verdict=Verdict.WRONG, told=str(error).removeprefix("Postgres "))
    newest = newest_revision()
    if current == newest:
        return Finding(check="Postgres", verdict=Verdict.FINE, told=f"answers, its tables are at revision {newest}")
    return Finding(
        check="Postgres",
        verdict=Verdict.WRONG,
        told=f"answers, but its tables are at revision {current or 'none'}; this Celadon needs {newest}",
        next_step="run 'celadon db upgrade', or the newer Celadon if the tables are its own",
    )


async def _check_temporal(session: Session) -> Finding:
    try:
        client = await session.temporal()
    except TemporalUnreachableError as error:
        return Finding(check="Temporal", verdict=Verdict.WRONG, told=str(error).removeprefix("Temporal "))
    told = f"answers at {client.service_client.config.target_host}, namespace {client.namespace}"
    return Finding(check="Temporal", verdict=Verdict.FINE, told=told)


async def _check_search_attributes(session: Session) -> Finding:
    check = "search attributes"
    try:
        missing = await missing_search_attributes(await session.temporal())
    except RPCError as error:
        return Finding(
            check=check,
            verdict=Verdict.WRONG,
            told=f"cannot be listed: {error.message}",
            next_step="check that the namespace exists (TEMPORAL_NAMESPACE) and that you may read it",
        )
    if not missing:
        return Finding(check=check, verdict=Verdict.FINE, told="registered")
    return Finding(
        check=check,
        verdict=Verdict.WRONG,
        told=f"not registered: {', '.join(missing)}; rollouts cannot start",
        next_step="start a worker, which registers them, or register them as Keyword with 'temporal operator "
        "search-attribute create'",
    )


async def _check_workflow(session: Session, unfinished: UnfinishedFinding) -> Finding:
    check = f"rollout {unfinished.rollout}"
    told = f"{unfinished.deployment} is in {unfinished.phase.value}"
    running = await (await session.rollouts()).is_running(unfinished.workflow_id)
    if running:
        return Finding(check=check, verdict=Verdict.FINE, told=f"{told}, and its workflow runs")
    if running is None:
        return Finding(
            check=check,
            verdict=Verdict.ODD,
            told=f"{told}; Temporal did not say whether its workflow runs",
            next_step="try again",
        )
    return Finding(
        check=check,
        verdict=Verdict.WRONG,
        told=f"{told}, but its workflow {unfinished.workflow_id} does not run any more",
        next_step="a keeper ends such a rollout and cleans up within a minute; when it stays, see the worker's log",
    )


def _judge_table(inspection: Inspection) -> Iterable[Finding]:
    yield _judge_keeper(inspection)
    yield _judge_outbox(inspection)
    yield from _judge_routers(inspection)
    for failed in inspection.failed_sets:
        yield Finding(
            check=f"set {failed.route_set}",
            verdict=Verdict.WRONG,
            told=f"the {'live set' if failed.is_live else 'green'} of {failed.deployment} (r{failed.revision}) has "
            f"failed: {failed.last_error or 'its replicas could not be kept running'}",
            next_step=f"see 'celadon rollout status {failed.deployment}', then roll out a revision that works",
        )
    for name in inspection.panics:
        yield Finding(
            check=f"deployment {name}",
            verdict=Verdict.WRONG,
            told="too few live replicas are healthy: unhealthy ones get traffic too",
            next_step=f"see 'celadon rollout status {name}'",
        )


def _judge_keeper(inspection: Inspection) -> Finding:
    keeper = inspection.keeper
    if keeper is not None and keeper.alive:
        return Finding(check="keeper", verdict=Verdict.FINE, told=f"at work: {keeper.holder}")
    last = "" if keeper is None else f"; the last one was {keeper.holder}"
    return Finding(
        check="keeper",
        verdict=Verdict.WRONG,
        told=f"nobody starts, probes or stops replicas{last}",
        next_step="start a worker: 'python -m worker'",
    )


def _judge_outbox(inspection: Inspection) -> Finding:
    outbox = inspection.outbox
    if outbox.oldest_at is None or inspection.at - outbox.oldest_at < SIGNALS_TAKEN_WITHIN:
        return Finding(check="signals", verdict=Verdict.FINE, told=f"{outbox.owed} owed to rollouts")
    return Finding(
        check="signals",
        verdict=Verdict.WRONG,
        told=f"{outbox.owed} owed to rollouts, the oldest for {span(inspection.at - outbox.oldest_at)}",
        next_step="check that the worker reaches Temporal, in its log",
    )


def _judge_routers(inspection: Inspection) -> Iterable[Finding]:
    live = [router for router in inspection.routers if router.live]
    if not live:
        yield Finding(
            check="routers",
            verdict=Verdict.WRONG if inspection.live_deployments else Verdict.ODD,
            told="none is live, so nobody can reach a deployment",
            next_step="start Envoy with the bootstrap of 'celadon gateway bootstrap', and see that the gateway runs",
        )
    for router in inspection.routers:
        yield _judge_router(router, inspection.at)


def _judge_router(router: RouterFinding, now: datetime) -> Finding:
    check = f"router {router.router}"
    if router.nack:
        return Finding(
            check=check,
            verdict=Verdict.WRONG,
            told=f"refused its last configuration: {router.nack}",
            next_step="it serves the one before; compare its version with the one that Celadon is tested with",
        )
    if not router.acknowledged:
        return Finding(check=check, verdict=Verdict.FINE, told="connected, has nothing to acknowledge yet")
    if not router.live:
        return Finding(
            check=check,
            verdict=Verdict.ODD,
            told=f"has not been seen for {span(now - router.seen_at)} and is not waited for",
            next_step="start it again if it should serve",
        )
    if router.behind:
        return Finding(
            check=check,
            verdict=Verdict.ODD,
            told=f"has not acknowledged the present state of {', '.join(router.behind)} yet",
            next_step="check again; if it stays so, see that it reaches the gateway",
        )
    return Finding(check=check, verdict=Verdict.FINE, told=f"live, through gateway {router.gateway}")


def _describe(finding: Finding) -> Text:
    mark, style = {
        Verdict.FINE: ("✔", "green"),
        Verdict.ODD: ("!", "yellow"),
        Verdict.WRONG: ("✘", "bold red"),
    }[finding.verdict]
    line = Text(f"{mark} ", style=style).append(f"{finding.check}: {finding.told}", style="default")
    return line.append(f"\n  → {finding.next_step}", style="default") if finding.next_step else line
