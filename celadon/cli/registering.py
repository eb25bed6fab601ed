"""What is registered without rolling it out: ``revision add`` and ``list``."""

from celadon.cli.access.opening import open_access
from celadon.cli.columns import table_of
from celadon.cli.deployment_file import read_deployment_file
from celadon.cli.giving import CommandArguments, as_text, ask
from celadon.cli.output import OutputFormat, print_answer
from celadon.cli.starting import content_request, who_asks
from celadon.cli.target import TargetChoice
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.moments import moment
from celadon.domain.language.revision import Revision
from celadon.ending import ExitCode
from celadon.service.command import AnyCommand
from celadon.service.commands.add_revision import AddRevisionRequest
from celadon.service.rollout_words import revision_name
from celadon.service.views.revisions import RevisionList
from celadon.table.records.revisions import RevisionRecord
from celadon.terminal import Table, Text

_DIGEST_LENGTH = 12


async def add_revision(
    command: AnyCommand, arguments: CommandArguments, target: TargetChoice, output: OutputFormat
) -> ExitCode:
    """Register the revision of a deployment file.

    Raises:
        BadParameter: a setting cannot be written into the file's content.
        CommandError: the file cannot be read, or there is no Celadon.
        RefusedError: the content is no request, there is no such deployment, or the revision holds plain secrets.

    """
    request = content_request(read_deployment_file(arguments.more["file"]), arguments)
    if not isinstance(request.revision, Revision):
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"the file names revision {request.revision}, which {request.deployment} has already",
            "write what the new revision is: command, env, health_check and so on",
        )
    addition = AddRevisionRequest(
        revision=request.revision,
        reason=request.reason,
        allow_plain_secrets=request.allow_plain_secrets,
    )
    async with open_access(target) as access:
        who = await who_asks(access, request.requested_by, arguments.by)
        added = await ask(access, command, request.deployment, addition, by=who)
    print_answer(added, output, lambda: as_text(command.summary(added)))
    return ExitCode.DONE


async def show_revisions(deployment: str, target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show every revision of a deployment.

    Raises:
        CommandError: there is no Celadon.
        RefusedError: there is no such deployment.

    """
    async with open_access(target) as access:
        listed = await access.revisions(deployment)
    none = f"{deployment} has no revision; add one with: celadon revision add -f FILE"
    print_answer(listed, output, lambda: [revision_table(listed) if listed.items else none])
    return ExitCode.DONE


def revision_table(listed: RevisionList) -> Table:
    """Return revisions with what each serves."""
    table = table_of("REVISION", "CREATED (UTC)", "DIGEST", "SERVES")
    for one in listed.items:
        table.add_row(
            Text(revision_name(one.number), style="bold"),
            moment(one.created_at),
            one.digest[:_DIGEST_LENGTH],
            Text(_serves(one)),
        )
    return table


def _serves(record: RevisionRecord) -> str:
    revision = Revision.of_stored(record.content)
    if revision.command:
        return " ".join(revision.command)
    return ", ".join(str(one) for one in revision.endpoints)
