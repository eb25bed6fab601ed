"""Messages that name a rollout: another one's changes nothing."""

from celadon.domain.language.commands import Command
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.progress import Progress


def refuse_other(progress: Progress, command: Command) -> Refusal | None:
    """Return why a message means another rollout than the one under way, or ``None`` when it does not."""
    if command.rollout is None or command.rollout == progress.rollout:
        return None
    return Refusal(
        code=RefusalCode.WRONG_ROLLOUT,
        message=f"the message means rollout {command.rollout}, but rollout {progress.rollout} is under way",
        next_step=f"look at it with 'celadon rollout status {progress.deployment}'",
    )


def another_under_way(deployment: str) -> Refusal:
    """Return why no rollout of a deployment can begin while one is under way."""
    return Refusal(
        code=RefusalCode.ROLLOUT_RUNNING,
        message=f"a rollout of {deployment} is under way",
        next_step=f"wait for it ('celadon rollout watch {deployment}') or abort it ('celadon abort {deployment}')",
    )
