"""What is said of a rollout where there is none."""

from celadon.domain.language.errors import RefusalCode, RefusedError, refuse


def nothing_under_way(deployment: str, why: str = "", *, to_promote: bool = False) -> RefusedError:
    """Return the refusal of what needs a rollout under way.

    Args:
        deployment: whose rollout is not there.
        why: how that is known; empty when there is no more to say.
        to_promote: whether a green was to be promoted, which then does not exist either.

    """
    told = f"no rollout of {deployment} is under way" + (f" ({why})" if why else "")
    return refuse(
        RefusalCode.NO_GREEN_REVISION if to_promote else RefusalCode.NO_SUCH_ROLLOUT,
        f"{told}, so there is no green revision to promote" if to_promote else told,
        "start one with 'celadon deploy -f FILE' or POST /v1/rollouts, or see 'celadon rollout list'",
    )
