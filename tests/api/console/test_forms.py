"""What the console says of what came of a decision."""

from celadon.api.console.forms import tell_way_back
from celadon.api.orders import WentBack
from celadon.domain.messages import AbortAnswer, AbortState
from celadon.domain.names import Epoch, RevisionNumber, RolloutId
from celadon.domain.states import RolloutOutcome

RECORDED = AbortAnswer(state=AbortState.RECORDED, why="blue cannot take the traffic for the moment; it goes back later")


def _went_back(answer: AbortAnswer) -> WentBack:
    return WentBack(deployment="chat", rollout=RolloutId(7), revision=RevisionNumber(2), by="ann", answer=answer)


def test_an_abort_that_is_recorded_is_not_told_as_done() -> None:
    notice = tell_way_back(_went_back(RECORDED))

    assert notice.tone == "warn"
    assert notice.text == "Recorded: blue cannot take the traffic for the moment; it goes back later."


def test_a_way_back_is_told_with_its_epoch() -> None:
    notice = tell_way_back(_went_back(AbortAnswer(outcome=RolloutOutcome.ROLLED_BACK, epoch=Epoch(6), ms=3)))

    assert notice.text == "Traffic is back on blue since epoch 6, after 3 ms."
