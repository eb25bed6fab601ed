"""``celadon plan``, and what ``celadon deploy`` says before it starts anything."""

from celadon.cli.access.protocol import Access
from celadon.cli.giving import as_text, ask
from celadon.cli.output import OutputFormat, print_answer, print_text
from celadon.domain.language.base_models import Record
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import RevisionNumber, RolloutId
from celadon.domain.language.plan import Plan
from celadon.ending import ExitCode
from celadon.service.commands.plan import COMMAND as PLAN
from celadon.service.commands.plan import told_already_there, told_changes


class AlreadyThere(Record):
    """The answer to a deployment file that describes what is there."""

    deployment: str
    state: str = "ALREADY_THERE"
    rollout: RolloutId | None
    """The rollout that is under way to it; nothing when it is live and none is."""
    to_revision: RevisionNumber | None


async def show_plan(access: Access, request: RolloutRequest, person: str, output: OutputFormat) -> ExitCode:
    """Show what a rollout would do; it has failed when the rollout would be refused."""
    plan: Plan = await ask(access, PLAN, "", request, by=person)
    print_answer(plan, output, lambda: as_text(PLAN.summary(plan)))
    return ExitCode.DONE if plan.refused is None or plan.already_there else ExitCode.FAILED


async def look_first(access: Access, request: RolloutRequest, person: str, output: OutputFormat) -> Plan:
    """Say what a rollout changes before it is started, and return the plan; what is refused the start itself tells."""
    plan: Plan = await ask(access, PLAN, "", request, by=person)
    if output is OutputFormat.TEXT and plan.refused is None and not plan.already_there:
        print_text(*as_text(told_changes(plan)))
    return plan


def tell_already_there(plan: Plan, output: OutputFormat) -> None:
    """Say that there is nothing to do."""
    answer = AlreadyThere(deployment=plan.deployment, rollout=plan.rollout, to_revision=plan.to_revision)
    print_answer(answer, output, lambda: as_text((told_already_there(plan),)))
