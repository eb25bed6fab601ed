"""What is said of a deployment or a rollout where there is none, the same words at every door."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.moments import utc
from celadon.domain.language.near_names import meant_instead

_MOST_NAMES: Final = 20


def no_such_deployment(name: str, existing: Sequence[str] | None = None) -> RefusedError:
    """Return the refusal for a deployment that is not there, or that the caller must not know of.

    Args:
        name: the name that was given.
        existing: the deployments that the caller may know of; ``None`` when they were not looked up.

    """
    what = f"there is no deployment {name}"
    if existing is None:
        return refuse(RefusalCode.NO_SUCH_DEPLOYMENT, what, "list the deployments that you may see, or create it")
    if not existing:
        return refuse(RefusalCode.NO_SUCH_DEPLOYMENT, what, "create it with 'celadon deploy -f FILE'")
    more = " and more: celadon deployment list" if len(existing) > _MOST_NAMES else ""
    return refuse(
        RefusalCode.NO_SUCH_DEPLOYMENT,
        f"{what}{meant_instead(name, existing)}",
        f"there are: {', '.join(existing[:_MOST_NAMES])}{more}",
    )


def nothing_under_way(deployment: str, why: str = "", *, to_promote: bool = False) -> RefusedError:
    """Return the refusal of what needs a rollout under way.

    Args:
        deployment: whose rollout is not there.
        why: how that is known; empty when there is no more to say.
        to_promote: whether a green was to be promoted, which then does not exist either.

    """
    what = f"no rollout of {deployment} is under way" + (f" ({why})" if why else "")
    return refuse(
        RefusalCode.NO_GREEN_REVISION if to_promote else RefusalCode.NO_SUCH_ROLLOUT,
        f"{what}, so there is no green revision to promote" if to_promote else what,
        "start one with 'celadon deploy -f FILE', or see 'celadon deployment list'",
    )


def no_such_rollout(
    deployment: str, rollout: int, pruned_to: int | None = None, pruned_at: datetime | None = None
) -> RefusedError:
    """Return the refusal of a rollout that a deployment does not have, or does not have any more.

    Args:
        deployment: whose it would be.
        rollout: its number.
        pruned_to: the highest number of a rollout of the deployment that was pruned.
        pruned_at: when one was pruned last.

    """
    if pruned_to is None or pruned_at is None or rollout > pruned_to:
        return refuse(
            RefusalCode.NO_SUCH_ROLLOUT,
            f"{deployment} has no rollout {rollout}",
            f"list them with 'celadon rollout history {deployment}'",
        )
    return refuse(
        RefusalCode.NO_SUCH_ROLLOUT,
        f"rollout {rollout} was pruned, or never was one of {deployment}: old rollouts up to {pruned_to} are not kept "
        f"any more (pruned last on {utc(pruned_at)})",
        f"list those that are kept with 'celadon rollout history {deployment}'; event_retention of its policy says for "
        "how long they are",
    )
