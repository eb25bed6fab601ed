"""``celadon deployment list`` and ``show``."""

from celadon.cli.access.opening import open_access
from celadon.cli.columns import table_of
from celadon.cli.ending import ExitCode
from celadon.cli.output import OutputFormat, print_object, print_text
from celadon.cli.target_choice import TargetChoice
from celadon.cli.tree import rollout_tree
from celadon.client.rollout_view import RolloutView, WorkflowAnswer
from celadon.client.wording import in_words, revision_name
from celadon.domain.language.moments import span
from celadon.domain.language.policy import resolve_policy
from celadon.service.pages import DeploymentList
from celadon.table.records.deployments import DeploymentView
from celadon.terminal import Table, Text


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
