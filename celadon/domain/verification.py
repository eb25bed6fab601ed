"""When a green set counts as started, and when as verified."""

from celadon.domain.states import SetCondition


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


def with_last_words(error: str, output: str) -> str:
    """Return why a replica ended, with the last line that it printed: the one that most often says what was wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return f"{error}: {lines[-1]}" if lines else error
