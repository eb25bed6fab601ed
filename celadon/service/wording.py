"""What several commands say to people."""

from celadon.domain.language.commands import AbortAnswer, PromoteAnswer
from celadon.domain.language.router_names import told_routers
from celadon.service.command import Line, Tone


def told_switch(done: str, answer: PromoteAnswer | AbortAnswer) -> tuple[Line, ...]:
    """Return the lines that tell how far traffic went."""
    acknowledged = told_routers(answer.acknowledged_by, answer.acknowledged_count)
    served = Line(text=f"Acknowledged by: {acknowledged or 'no router is live'}")
    if not answer.silent:
        text = f": epoch {answer.epoch}, {answer.ms:.0f} ms from the decision to the last acknowledgement."
        return (Line(strong=done, text=text), served)
    return (
        Line(strong=f"{done}, but not everywhere yet", text=f": epoch {answer.epoch}.", tone=Tone.WARN),
        served,
        Line(
            text=f"Silent: {told_routers(answer.silent, answer.silent_count)}; the other colour is kept until they "
            "acknowledge or are gone",
            tone=Tone.WARN,
        ),
    )


def see(deployment: str) -> Line:
    """Return the line that says where to look further."""
    return Line(text=f"See: celadon rollout status {deployment}")
