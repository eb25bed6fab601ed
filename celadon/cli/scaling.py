"""``celadon deployment scale``: scales, and waits until so many serve if told so."""

from celadon.cli.access.opening import open_access
from celadon.cli.access.protocol import Access
from celadon.cli.faults import CommandError
from celadon.cli.giving import CommandArguments, as_text, ask, request_of
from celadon.cli.output import OutputFormat, print_answer, print_note
from celadon.cli.patience import Patience, a_moment, outlasting
from celadon.cli.target import TargetChoice
from celadon.ending import ExitCode
from celadon.service.command import AnyCommand


async def scale(
    command: AnyCommand, arguments: CommandArguments, target: TargetChoice, output: OutputFormat
) -> ExitCode:
    """Let a deployment want another number of replicas.

    Raises:
        CommandError: Celadon is not there, nobody answered, or it took longer than the person would wait.
        RefusedError: it cannot have so many, or there is no such deployment.

    """
    name = arguments.subject
    request = request_of(command, arguments.values)
    replicas: int = arguments.values["replicas"]
    async with open_access(target) as access:
        by = await access.person(arguments.by)
        result = await ask(access, command, name, request, by=by)
        view = await access.deployment(name)
        if not view.keeper_alive:
            print_note("no keeper is at work: start a worker ('celadon worker'), or nothing starts and nothing stops")
        if arguments.wait:
            what = f"{name} does not serve with {replicas} replicas"
            async with Patience(arguments.timeout).waiting(what, f"it goes on: celadon deployment show {name}"):
                await _until_scaled(access, name, replicas)
    serves = f"{name} serves with {replicas} replicas."
    print_answer(result, output, lambda: [serves] if arguments.wait else as_text(command.summary(result)))
    return ExitCode.DONE


async def _until_scaled(access: Access, name: str, replicas: int) -> None:
    """Wait until as many live replicas as wanted are healthy, and none leaves any more."""
    while True:
        view = await outlasting(lambda: access.deployment(name))
        if view.replicas != replicas:
            raise CommandError(f"somebody lets {name} have {view.replicas} replicas meanwhile")
        live = next((one for one in view.sets if one.is_live), None)
        if live is None and (view.rollout is None or view.rollout.outcome is not None):
            print_note(
                f"nothing is live, so nothing is to be waited for; the next rollout of {view.deployment} heeds it"
            )
            return
        if live is not None and live.wanted == replicas <= live.healthy:
            leaving = [one for one in live.replicas if one.leaving_deadline is not None]
            if not leaving and len(live.replicas) == replicas:
                return
        await a_moment()
