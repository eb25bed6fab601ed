"""When a green set counts as started, and when as verified."""

from celadon.domain.language.states import SetCondition


def set_condition(
    *,
    running: int,
    ready: int,
    required: int,
    wanted: int,
    failed: bool,
    before: SetCondition,
) -> SetCondition:
    """Return the condition of a set from its counts of replicas.

    A set that was full once never counts as starting again: losing a replica later is a question of health, not of
    provisioning. So the first ``ready`` needs a full set, the later ones only enough healthy replicas.
    """
    if failed:
        return SetCondition.FAILED
    started = running >= wanted or before in {SetCondition.RUNNING, SetCondition.READY}
    if not started:
        return SetCondition.STARTING
    return SetCondition.READY if ready >= required else SetCondition.RUNNING
