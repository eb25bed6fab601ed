"""What several commands say to people."""

from celadon.domain.language.commands import AbortAnswer, PromoteAnswer
from celadon.service.command import Line, Tone


def told_switch(done: str, answer: PromoteAnswer | AbortAnswer) -> tuple[Line, ...]:
    """Return the lines that tell how far traffic went."""
    served = Line(text=f"Acknowledged by: {', '.join(answer.acknowledged_by) or 'no router is live'}")
    if not answer.silent:
        text = f": epoch {answer.epoch}, {answer.ms:.0f} ms from the decision to the last acknowledgement."
        return (Line(strong=done, text=text), served)
    return (
        Line(strong=f"{done}, but not everywhere yet", text=f": epoch {answer.epoch}.", tone=Tone.WARN),
        served,
        Line(
            text=f"Silent: {', '.join(answer.silent)}; the other colour is kept until they acknowledge or are gone",
            tone=Tone.WARN,
        ),
    )


def see(deployment: str) -> Line:
    """Return the line that says where to look further."""
    return Line(text=f"See: celadon rollout status {deployment}")
