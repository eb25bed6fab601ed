"""``celadon deployment list``, ``show`` and ``scale``."""

from dataclasses import dataclass
from datetime import timedelta

from celadon.api.orders import DeploymentList
from celadon.cli.access.opening import open_access
from celadon.cli.access.protocol import Access
from celadon.cli.columns import table_of
from celadon.cli.ending import ExitCode
from celadon.cli.faults import CommandError
from celadon.cli.output import OutputFormat, print_note, print_object, print_text
from celadon.cli.patience import Patience, a_moment, outlasting
from celadon.cli.target_choice import TargetChoice
from celadon.cli.tree import rollout_tree
from celadon.client.patience import NoAnswerError
from celadon.client.rollout_view import RolloutView, WorkflowAnswer
from celadon.client.wording import in_words, revision_name
from celadon.domain.moments import span
from celadon.domain.policy import resolve_policy
from celadon.table.records.changes import Scaled
from celadon.table.records.deployments import DeploymentView
from celadon.terminal import Table, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How many replicas a person wants, and for how long they wait."""

    deployment: str
    replicas: int
    by: str | None
    reason: str
    wait: bool
    timeout: timedelta | None


async def show_deployments(target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show all deployments that were not destroyed.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.

    """
    async with open_access(target) as access:
        listed = await access.deployments()
    if output.is_for_programs:
        print_object(listed, output)
    elif listed.deployments:
        print_text(health_table(listed))
    else:
        print_text("There is no deployment; create one with: celadon deploy -f FILE")
    return ExitCode.DONE


async def show_deployment(deployment: str, target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show a deployment, from the table alone.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.
        RefusedError: there is no such deployment.

    """
    async with open_access(target) as access:
        view = await access.deployment(deployment)
    if output.is_for_programs:
        print_object(view, output)
    else:
        print_text(
            rollout_tree(RolloutView(deployment=view, workflow=WorkflowAnswer()), view.at), "", policy_text(view)
        )
    return ExitCode.DONE


async def scale_deployment(scaling: Scaling, target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Let a deployment want another number of replicas.

    Raises:
        CommandError: Celadon is not there, nobody answered, or it took longer than the person would wait.
        RefusedError: it cannot have so many, or there is no such deployment.

    """
    name = scaling.deployment
    async with open_access(target) as access:
        by = await access.person(scaling.by)
        try:
            answer = await access.scale(name, scaling.replicas, by=by, reason=scaling.reason)
        except NoAnswerError as error:
            raise CommandError(f"{error}; the same command can be given again") from error
        view = await access.deployment(name)
        if not view.keeper_alive:
            print_note("no keeper is at work: start a worker ('python -m worker'), or nothing starts and nothing stops")
        if scaling.wait:
            what = f"{name} does not serve with {scaling.replicas} replicas"
            async with Patience(scaling.timeout).waiting(what, f"it goes on: celadon deployment show {name}"):
                await _until_scaled(access, scaling)
    if output.is_for_programs:
        print_object(answer, output)
    else:
        print_text(_scaled(answer, done=scaling.wait))
    return ExitCode.DONE


async def _until_scaled(access: Access, scaling: Scaling) -> None:
    """Wait until as many live replicas as wanted are healthy, and none leaves any more."""
    while True:
        view = await outlasting(lambda: access.deployment(scaling.deployment))
        if view.replicas != scaling.replicas:
            raise CommandError(f"somebody lets {scaling.deployment} have {view.replicas} replicas meanwhile")
        live = next((one for one in view.sets if one.is_live), None)
        if live is None and (view.rollout is None or view.rollout.outcome is not None):
            print_note(
                f"nothing is live, so nothing is to be waited for; the next rollout of {view.deployment} heeds it"
            )
            return
        if live is not None and live.wanted == scaling.replicas <= live.healthy:
            leaving = [one for one in live.replicas if one.leaving_deadline is not None]
            if not leaving and len(live.replicas) == scaling.replicas:
                return
        await a_moment()


def _scaled(answer: Scaled, *, done: bool) -> str:
    if done:
        return f"{answer.deployment} serves with {answer.replicas} replicas."
    if not answer.changed:
        return f"{answer.deployment} wants {answer.replicas} replicas already; nothing was changed."
    told = f"{answer.deployment}: {answer.before} → {answer.replicas} replicas, epoch {answer.epoch}."
    if answer.replicas < answer.before:
        told += " Those that are too many stop when their running requests have ended."
    return f"{told} See: celadon deployment show {answer.deployment}"


def health_table(listed: DeploymentList) -> Table:
    """Return deployments with what is live and healthy."""
    table = table_of("DEPLOYMENT", "LIFECYCLE", "PHASE", "LIVE", "HEALTHY", "SINCE")
    for line in listed.deployments:
        rollout = line.rollout
        under_way = rollout is not None and rollout.outcome is None
        table.add_row(
            Text(line.deployment + (" (frozen)" if line.frozen else ""), style="bold"),
            Text(line.lifecycle.value, style="cyan"),
            Text(in_words(rollout.phase.value), style="yellow") if rollout is not None and under_way else "-",
            Text(revision_name(line.live_revision), style="green" if line.live_revision else "yellow"),
            Text(f"{line.healthy}/{line.wanted}", style="green" if line.healthy >= line.wanted else "yellow"),
            "-" if rollout is None else f"{span(listed.at - rollout.phase_since)} ago",
        )
    return table


def policy_text(view: DeploymentView) -> Text:
    """Return the policy that a rollout would have which says nothing itself."""
    given = view.policy.model_fields_set
    text = Text("policy", style="bold").append("  of a rollout that says nothing itself", style="not bold dim")
    for name, value in resolve_policy(view.policy).model_dump(mode="json").items():
        own = "" if name in given else "  (default)"
        text.begin_line(f"  {name}: {value}", style="not bold default").append(own, style="dim")
    return text
