"""What people read of what came of a command."""

from celadon.domain.language.commands import AbortAnswer, AbortState
from celadon.domain.language.names import Epoch, RevisionNumber, RolloutId
from celadon.domain.language.states import RolloutOutcome
from celadon.service.way_back import AbortResult, notice_of_way_back

RECORDED = AbortAnswer(state=AbortState.RECORDED, why="blue cannot take the traffic for the moment; it goes back later")


def _went_back(answer: AbortAnswer) -> AbortResult:
    return AbortResult(deployment="chat", rollout=RolloutId(7), revision=RevisionNumber(2), by="ann", answer=answer)


def test_an_abort_that_is_recorded_is_not_told_as_done() -> None:
    notice = notice_of_way_back(_went_back(RECORDED))

    assert notice.tone == "warn"
    assert notice.text == "Recorded: blue cannot take the traffic for the moment; it goes back later."


def test_a_way_back_is_told_with_its_epoch() -> None:
    notice = notice_of_way_back(_went_back(AbortAnswer(outcome=RolloutOutcome.ROLLED_BACK, epoch=Epoch(6), ms=3)))

    assert notice.text == "Traffic is back on blue since epoch 6, after 3 ms."
