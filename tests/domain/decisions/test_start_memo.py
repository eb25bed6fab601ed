"""What the memo of a start may say."""

import pytest

from celadon.domain.decisions.start_memo import refuse_memo
from celadon.domain.language.messages import StartMemo
from celadon.domain.language.permissions import Verb


@pytest.mark.parametrize(
    ("memo", "told"),
    [
        (StartMemo(request_id="x" * 201), "request_id has more than 200 bytes"),
        (StartMemo(request_id="é" * 101), "request_id has more than 200 bytes"),
        (StartMemo(issuer="x" * 301), "issuer has more than 300 bytes"),
        (StartMemo(signature="x" * 201), "signature has more than 200 bytes"),
        (StartMemo(request_id="a\0b"), r"request_id holds \x00"),
        (StartMemo(rights=(Verb.PROMOTE,) * (len(Verb) + 1)), "rights"),
    ],
)
def test_a_memo_beyond_its_limits_is_refused(memo: StartMemo, told: str) -> None:
    refusal = refuse_memo(memo)

    assert refusal is not None
    assert told in refusal.message


def test_a_memo_at_its_limits_is_taken() -> None:
    memo = StartMemo(request_id="x" * 200, issuer="i" * 300, signature="s" * 200, rights=tuple(Verb))

    assert refuse_memo(memo) is None
