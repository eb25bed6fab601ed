"""The check-up: all checks in their order, with their mends when those are wanted."""

from collections.abc import AsyncIterator
from pathlib import Path

from celadon.cli.doctor.ended_stack import check_ended_stack, ended_stack
from celadon.cli.doctor.findings import Diagnosis, Finding, Verdict
from celadon.cli.doctor.keeper import check_keeper
from celadon.cli.doctor.left_workflows import check_left_workflows
from celadon.cli.doctor.notifications import check_notifications
from celadon.cli.doctor.postgres_account import check_postgres_account
from celadon.cli.doctor.printing import describe, describe_result
from celadon.cli.doctor.replica_user import check_replica_user
from celadon.cli.doctor.replicas import check_replicas
from celadon.cli.doctor.rollouts import check_rollouts
from celadon.cli.doctor.routers import check_routers
from celadon.cli.doctor.schema import check_schema, is_current
from celadon.cli.doctor.sets import check_sets
from celadon.cli.doctor.signals import check_signals
from celadon.cli.doctor.temporal import check_search_attributes, check_temporal
from celadon.cli.doctor.temporal_limits import check_temporal_limits
from celadon.cli.doctor.worker_risks import check_worker_risks
from celadon.cli.output import OutputFormat, print_object, print_text
from celadon.cli.session import Session, open_session
from celadon.domain.language.base_models import Record
from celadon.ending import ExitCode
from celadon.foreseen import explain
from celadon.table.notifications.deliveries import read_loads
from celadon.table.read.inspection import inspect


class CheckUp(Record):
    """What ``doctor -o json`` prints."""

    healthy: bool
    """Whether nothing is wrong, or everything that was has been mended."""
    findings: tuple[Finding, ...]


async def check_up(data_dir: Path | None, output: OutputFormat, *, fix: bool) -> ExitCode:
    """Check everything and say what to do next; with ``fix`` do what can be done without harm.

    Fails when something is wrong that was not mended.

    Raises:
        CommandError: there is no Celadon to be checked.

    """
    ended = ended_stack(data_dir)
    if ended is not None:
        return await _report(check_ended_stack(ended), output, f"the local stack in {ended.path}", fix=fix)
    async with open_session(data_dir) as session:
        return await _report(_checks(session), output, session.target.described, fix=fix)


async def _report(checks: AsyncIterator[Diagnosis], output: OutputFormat, checked: str, *, fix: bool) -> ExitCode:
    findings: list[Finding] = []
    async for diagnosis in checks:
        finding = await _mended(diagnosis) if fix else diagnosis.finding
        findings.append(finding)
        if not output.is_for_programs:
            print_text(describe(finding))
    healthy = all(finding.verdict is not Verdict.WRONG for finding in findings)
    if output.is_for_programs:
        print_object(CheckUp(healthy=healthy, findings=tuple(findings)), output)
    else:
        print_text("", describe_result(findings, checked, fixed=fix))
    return ExitCode.DONE if healthy else ExitCode.FAILED


async def _mended(diagnosis: Diagnosis) -> Finding:
    """Put right what can be; a mend that fails leaves the finding as it was, with what kept it from working."""
    finding = diagnosis.finding
    if diagnosis.mend is None:
        return finding
    try:
        mended = await diagnosis.mend()
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        return finding.model_copy(update={"next_step": f"it could not be mended: {sentence}"})
    verdict = Verdict.WRONG if mended.left else Verdict.MENDED
    return finding.model_copy(update={"verdict": verdict, "done": mended.done, "next_step": mended.left})


async def _checks(session: Session) -> AsyncIterator[Diagnosis]:
    """Check one thing after the other; what one check mends, the next ones find mended."""
    yield await check_schema(session)
    inspection = await session.read(inspect) if await is_current(session) else None
    if inspection is not None:
        for diagnosis in (
            *check_postgres_account(session.target.stack),
            check_keeper(inspection, session.target.stack),
            *check_worker_risks(inspection),
            *check_routers(inspection, session.target.stack),
            *check_sets(inspection),
        ):
            yield diagnosis
    yield (temporal := await check_temporal(session))
    is_there = temporal.finding.verdict is Verdict.FINE
    if is_there:
        yield await check_search_attributes(session)
        yield await check_temporal_limits(session)
    if inspection is None:
        return
    if is_there:
        async for diagnosis in check_rollouts(session, inspection):
            yield diagnosis
        async for diagnosis in check_left_workflows(session, inspection):
            yield diagnosis
    yield check_signals(session, inspection, temporal_answers=is_there)
    for diagnosis in check_notifications(await session.read(read_loads), inspection.at):
        yield diagnosis
    async for diagnosis in _check_machine(session):
        yield diagnosis


async def _check_machine(session: Session) -> AsyncIterator[Diagnosis]:
    """Check the replicas of this machine."""
    for check in (check_replicas, check_replica_user):
        async for diagnosis in check(session):
            yield diagnosis
