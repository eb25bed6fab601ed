"""What is registered without rolling it out: ``deployment create`` and ``label``, ``revision add`` and ``list``."""

from collections.abc import Iterable
from pathlib import Path

import typer

from celadon.api.orders import AddRevisionOrder, CreateOrder, LabelOrder, RevisionList
from celadon.cli.access.opening import open_access
from celadon.cli.columns import table_of
from celadon.cli.deployment_file import read_deployment_file, read_policy_file, with_settings
from celadon.cli.ending import ExitCode
from celadon.cli.faults import CommandError
from celadon.cli.output import OutputFormat, print_object, print_text
from celadon.cli.starting import who_asks
from celadon.cli.target_choice import TargetChoice
from celadon.client.patience import NoAnswerError
from celadon.client.wording import revision_name
from celadon.domain.errors import RefusalCode, refuse
from celadon.domain.messages import RolloutRequest
from celadon.domain.moments import moment
from celadon.domain.payload import parse_payload
from celadon.domain.revision import Revision
from celadon.table.records.revisions import RevisionRecord
from celadon.terminal import Table, Text

_DIGEST_LENGTH = 12


async def create_deployment(  # noqa: PLR0913 - what a person can say
    deployment: str,
    replicas: int,
    policy_file: Path | None,
    labels: Iterable[str],
    target: TargetChoice,
    output: OutputFormat,
    *,
    by: str | None,
    reason: str,
) -> ExitCode:
    """Create a deployment.

    Raises:
        BadParameter: a label is none.
        CommandError: the policy file cannot be read, or there is no Celadon.
        RefusedError: there is another deployment of this name, or the policy is none.

    """
    given = {
        "deployment": deployment,
        "replicas": replicas,
        "policy": {} if policy_file is None else read_policy_file(policy_file),
        "labels": _labels(labels, "--label"),
        "reason": reason,
    }
    order = parse_payload(CreateOrder, given)
    async with open_access(target) as access:
        who = await access.person(by)
        try:
            created = await access.create(order, by=who)
        except NoAnswerError as error:
            raise _again(error) from error
    if output.is_for_programs:
        print_object(created, output)
    elif created.created:
        print_text(f"{deployment} is created; nothing runs before its first rollout: celadon deploy -f FILE")
    else:
        print_text(f"{deployment} is there already, and the same; nothing was changed.")
    return ExitCode.DONE


async def label_deployment(
    deployment: str,
    labels: Iterable[str],
    target: TargetChoice,
    output: OutputFormat,
    *,
    by: str | None,
    reason: str,
) -> ExitCode:
    """Give a deployment other labels.

    Raises:
        BadParameter: a label is none.
        CommandError: there is no Celadon.
        RefusedError: there is no such deployment.

    """
    order = parse_payload(LabelOrder, {"labels": _labels(labels, "NAME=VALUE"), "reason": reason})
    async with open_access(target) as access:
        who = await access.person(by)
        try:
            labelled = await access.label(deployment, order, by=who)
        except NoAnswerError as error:
            raise _again(error) from error
    if output.is_for_programs:
        print_object(labelled, output)
        return ExitCode.DONE
    told = ", ".join(f"{name}={value}" for name, value in sorted(labelled.labels.items())) or "no labels"
    print_text(f"{deployment} has {told}{'' if labelled.changed else ' already; nothing was changed'}.")
    return ExitCode.DONE


async def add_revision(  # noqa: PLR0913 - what a person can say
    file: Path,
    settings: Iterable[str],
    target: TargetChoice,
    output: OutputFormat,
    *,
    by: str | None,
    reason: str | None,
    allow_plain_secrets: bool,
) -> ExitCode:
    """Register the revision of a deployment file.

    Raises:
        BadParameter: a setting cannot be written into the file's content.
        CommandError: the file cannot be read, or there is no Celadon.
        RefusedError: the content is no request, there is no such deployment, or the revision holds plain secrets.

    """
    try:
        content = with_settings(read_deployment_file(file), list(settings))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--set") from error
    if allow_plain_secrets:
        content["allow_plain_secrets"] = True
    request = parse_payload(RolloutRequest, content)
    if not isinstance(request.revision, Revision):
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"the file names revision {request.revision}, which {request.deployment} has already",
            "write what the new revision is: command, env, health_check and so on",
        )
    order = AddRevisionOrder(
        revision=request.revision,
        reason=request.reason if reason is None else reason,
        allow_plain_secrets=request.allow_plain_secrets,
    )
    async with open_access(target) as access:
        who = await who_asks(access, request.requested_by, by)
        try:
            added = await access.add_revision(request.deployment, order, by=who)
        except NoAnswerError as error:
            raise _again(error) from error
    if output.is_for_programs:
        print_object(added, output)
    else:
        print_text(
            f"It is {revision_name(added.revision)} of {added.deployment}. Roll it out with: "
            f"celadon rollout start {added.deployment} --revision {added.revision}",
        )
    return ExitCode.DONE


async def show_revisions(deployment: str, target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show every revision of a deployment.

    Raises:
        CommandError: there is no Celadon.
        RefusedError: there is no such deployment.

    """
    async with open_access(target) as access:
        listed = await access.revisions(deployment)
    if output.is_for_programs:
        print_object(listed, output)
    elif listed.revisions:
        print_text(revision_table(listed))
    else:
        print_text(f"{deployment} has no revision; add one with: celadon revision add -f FILE")
    return ExitCode.DONE


def revision_table(listed: RevisionList) -> Table:
    """Return revisions with what each serves."""
    table = table_of("REVISION", "CREATED (UTC)", "DIGEST", "SERVES")
    for one in listed.revisions:
        table.add_row(
            Text(revision_name(one.number), style="bold"),
            moment(one.created_at),
            one.digest[:_DIGEST_LENGTH],
            Text(_serves(one)),
        )
    return table


def _serves(record: RevisionRecord) -> str:
    revision = Revision.model_validate(record.content, strict=False)
    if revision.command:
        return " ".join(revision.command)
    return ", ".join(revision.endpoints)


def _labels(given: Iterable[str], hint: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator:
            raise typer.BadParameter(f"{one!r} is no label: write NAME=VALUE, for example team=search", param_hint=hint)
        if name in labels:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint=hint)
        labels[name] = value
    return labels


def _again(error: NoAnswerError) -> CommandError:
    return CommandError(f"{error}; the same command can be given again")
