"""Whether the sets of a deployment may have more replicas: ``max_total_replicas`` and what it refuses."""

from celadon.domain.language.errors import Refusal, RefusalCode


def refuse_for_room(deployment: str, *, used: int, more: int, bound: int | None) -> Refusal | None:
    """Return why a deployment may not have ``more`` replicas now, or ``None`` when it may.

    Args:
        deployment: its name.
        used: what its open sets want, and what has not ended of those that drain.
        more: how many are to be added; fewer never lack room.
        bound: ``max_total_replicas``; ``None`` when there is no bound.

    """
    if bound is None or more <= 0 or used + more <= bound:
        return None
    return Refusal(
        code=RefusalCode.NO_ROOM,
        message=f"no room for {more} more {_replicas(more)} of {deployment}: its sets have {used}, and "
        f"max_total_replicas is {bound}",
        next_step="try again when replicas have drained, ask for fewer, or raise max_total_replicas",
    )


def refuse_bound(deployment: str, *, blue: int, green: int, bound: int | None) -> Refusal | None:
    """Return why no rollout can keep the bound, however long it waits, or ``None`` when one can.

    Args:
        deployment: its name.
        blue: how many replicas the set wants that is live; 0 when none is.
        green: how many green wants when it is switched to.
        bound: ``max_total_replicas``; ``None`` when there is no bound.

    """
    if bound is None or blue + green <= bound:
        return None
    beside = f"blue has {blue} and green needs {green} beside it" if blue else f"green needs {green}"
    return Refusal(
        code=RefusalCode.POLICY_CONFLICT,
        message=f"max_total_replicas of {bound} leaves no room for a rollout of {deployment}, however long it waits: "
        f"{beside}",
        next_step=f"raise max_total_replicas to {blue + green}, or ask for fewer replicas",
    )


def _replicas(count: int) -> str:
    return "replica" if count == 1 else "replicas"
