"""``celadon deploy`` and ``celadon rollout start``: a request becomes a rollout."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import typer

from celadon.cli.deployment_file import Content, read_deployment_file, with_settings
from celadon.cli.ending import ExitCode
from celadon.cli.faults import CommandError
from celadon.cli.output import OutputFormat, print_json, print_text
from celadon.cli.person import person_named
from celadon.cli.session import Session, open_session
from celadon.cli.tree import revision_name
from celadon.cli.watching import watch_until_end
from celadon.client.rollouts import RolloutClient, RolloutEnded
from celadon.domain.contracts import workflow_id
from celadon.domain.durations import format_duration
from celadon.domain.messages import RolloutRequest
from celadon.domain.names import RevisionNumber, RolloutId
from celadon.domain.payload import parse_payload
from celadon.domain.strictness import Record
from celadon.table.history import RolloutRecord, rollout_of_run

REGISTERED_WITHIN: Final = timedelta(seconds=10)
"""How long a command waits until a worker has taken the rollout up; the rollout itself waits for ever."""

_POLL_SECONDS: Final = 0.1


class Start(Record):
    """How a rollout is to be started, beside its content."""

    settings: tuple[str, ...] = ()
    requested_by: str | None = None
    reason: str | None = None
    allow_plain_secrets: bool = False
    wait: bool = False
    timeout: timedelta | None = None
    """How long to wait for the end; for ever when not set."""


class StartedRollout(Record):
    """What ``-o json`` prints of a rollout that was started."""

    deployment: str
    workflow_id: str
    run_id: str
    rollout: RolloutId | None
    """Nothing while no worker has taken it up."""
    from_revision: RevisionNumber | None
    to_revision: RevisionNumber | None


async def deploy_file(file: Path, start: Start, data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """Start a rollout from a deployment file.

    Raises:
        CommandError: the file cannot be read, or there is no Celadon.
        RefusedError: the request or the rollout was refused.

    """
    return await _start(read_deployment_file(file), start, data_dir, output)


async def deploy_revision(
    content: Mapping[str, object],
    start: Start,
    data_dir: Path | None,
    output: OutputFormat,
) -> ExitCode:
    """Start a rollout to a revision that the deployment has had before; errors as for a file."""
    return await _start(dict(content), start, data_dir, output)


async def _start(content: Content, start: Start, data_dir: Path | None, output: OutputFormat) -> ExitCode:
    request = _request(content, start)
    async with open_session(data_dir) as session:
        rollouts = await session.rollouts()
        run_id = await rollouts.start(request)
        record = await _until_registered(session, rollouts, request.deployment, run_id)
        if not start.wait or output is OutputFormat.TEXT:
            _tell(request.deployment, run_id, record, output)
        if not start.wait:
            return ExitCode.DONE
        if record is None:
            raise CommandError(
                f"the rollout of {request.deployment} cannot be waited for, because no worker takes it up; start one "
                f"with 'python -m worker', then follow it with 'celadon rollout watch {request.deployment}'",
            )
        try:
            async with asyncio.timeout(None if start.timeout is None else start.timeout.total_seconds()):
                return await watch_until_end(session, request.deployment, record.rollout, output)
        except TimeoutError as error:
            raise CommandError(
                f"rollout {record.rollout} of {request.deployment} has not ended within "
                f"{format_duration(start.timeout or timedelta(0))} and goes on; follow it with "
                f"'celadon rollout watch {request.deployment}'",
            ) from error


def _request(content: Content, start: Start) -> RolloutRequest:
    """Return the request: the content, with what the options say instead.

    Raises:
        BadParameter: a setting cannot be written into the content.
        RefusedError: the content is no request.

    """
    try:
        content = with_settings(content, start.settings)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--set") from error
    if start.requested_by or "requested_by" not in content:
        content["requested_by"] = person_named(start.requested_by)
    if start.reason is not None:
        content["reason"] = start.reason
    if start.allow_plain_secrets:
        content["allow_plain_secrets"] = True
    return parse_payload(RolloutRequest, content)


async def _until_registered(
    session: Session,
    rollouts: RolloutClient,
    deployment: str,
    run_id: str,
) -> RolloutRecord | None:
    """Return the rollout's row once its workflow has written it; nothing when no worker takes it up in time.

    Raises:
        CommandError: the workflow ended before, which says why.

    """
    ending = asyncio.create_task(rollouts.wait(deployment, run_id=run_id))
    try:
        async with asyncio.timeout(REGISTERED_WITHIN.total_seconds()):
            while True:
                record = await session.read(lambda tx: rollout_of_run(tx, workflow_id(deployment), run_id))
                if record is not None:
                    return record
                if ending.done():
                    raise _refused_at_once(deployment, ending.result())
                await asyncio.wait({ending}, timeout=_POLL_SECONDS)
    except TimeoutError:
        return None
    finally:
        ending.cancel()
        await asyncio.wait({ending})


def _refused_at_once(deployment: str, ended: RolloutEnded) -> CommandError:
    return CommandError(f"the rollout of {deployment} was refused: {ended.failure or ended.status}")


def _tell(deployment: str, run_id: str, record: RolloutRecord | None, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        print_json(
            StartedRollout(
                deployment=deployment,
                workflow_id=workflow_id(deployment),
                run_id=run_id,
                rollout=None if record is None else record.rollout,
                from_revision=None if record is None else record.from_revision,
                to_revision=None if record is None else record.to_revision,
            ),
        )
        return
    if record is None:
        print_text(
            f"[yellow]The rollout of {deployment} is started, but no worker has taken it up within "
            f"{format_duration(REGISTERED_WITHIN)}[/]; it waits until one runs ('python -m worker').",
        )
        return
    print_text(
        f"Rollout {record.rollout} of {deployment} has begun: {revision_name(record.from_revision)} → "
        f"{revision_name(record.to_revision)}. Follow it with: celadon rollout watch {deployment}",
    )
