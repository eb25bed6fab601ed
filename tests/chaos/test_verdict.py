"""Which unanswered requests a death excuses; all others are lost."""

from typing import Any

import pytest

from celadon.stack.demo.records import RequestKind, RequestRecord, RequestResult
from tests.chaos.faults import Damage
from tests.chaos.verdict import Requests, judge_requests
from tests.router_answers import DISCONNECTED

SEED = 7
STRUCK = 1_000
TERMINATED = f'status 503: {{"error": {{"message": "{DISCONNECTED}, and may have begun'


def _record(number: int = 1, *, sent: int, end: int, error: str | None = TERMINATED) -> RequestRecord:
    return RequestRecord(
        number=number,
        kind=RequestKind.PLAIN,
        result=RequestResult.ANSWERED if error is None else RequestResult.FAILED,
        scheduled_ns=sent,
        sent_ns=sent,
        first_byte_ns=None,
        end_ns=end,
        status=None,
        revision=None,
        late=False,
        error=error,
    )


def _damage(**done: Any) -> Damage:
    site: Any = None
    return Damage(site, {}, struck_ns=STRUCK, **done)


def _judge(damage: Damage, record: RequestRecord, *running: str) -> Requests:
    return judge_requests("chat", SEED, damage, running, [record]).model_copy(update={"examples": []})


@pytest.mark.parametrize(
    ("damage", "record", "running", "found"),
    [
        (_damage(), _record(sent=900, end=1100, error=None), (), Requests(sent=1)),
        (_damage(), _record(sent=900, end=1100), (), Requests(sent=1, lost=1)),
        (_damage(killed={"a": 1000}), _record(sent=900, end=5000, error="reset"), ("7-1",), Requests(sent=1, cut=1)),
        (_damage(killed={"a": 1000}), _record(sent=900, end=1100), (), Requests(sent=1, cut=1)),
        (_damage(killed={"a": 1000}), _record(sent=900, end=1100, error="status 404"), (), Requests(sent=1, lost=1)),
        (_damage(killed={"a": 1000}), _record(sent=1001, end=1100), ("7-2",), Requests(sent=1, lost=1)),
        (_damage(unreachable=[(1000, 2000)]), _record(sent=900, end=1100), (), Requests(sent=1, unreachable=1)),
        (_damage(unreachable=[(1000, 2000)]), _record(sent=1999, end=2500), (), Requests(sent=1, unreachable=1)),
        (_damage(unreachable=[(1000, 2000)]), _record(sent=2001, end=2500), (), Requests(sent=1, lost=1)),
        (_damage(unreachable=[(1000, 2000)]), _record(sent=800, end=900), (), Requests(sent=1, lost=1)),
        (_damage(none_left={"chat": (1000, 2000)}), _record(sent=1500, end=1600), (), Requests(sent=1, none_left=1)),
        (_damage(none_left={"chat": (1000, 2000)}), _record(sent=2001, end=2100), (), Requests(sent=1, lost=1)),
        (_damage(none_left={"other": (1000, 2000)}), _record(sent=1500, end=1600), (), Requests(sent=1, lost=1)),
    ],
    ids=[
        "answered",
        "failed without a reason",
        "ran on a killed replica by its journal",
        "broke with the connection to a killed replica",
        "refused while a replica was killed",
        "sent after the kill to nobody's journal",
        "ran through a killed router",
        "sent before the router served again",
        "sent after the router served again",
        "failed before the router was killed",
        "sent while no live replica was left",
        "sent after one was back",
        "sent while another deployment had none left",
    ],
)
def test_only_what_a_death_took_with_it_is_excused(
    damage: Damage,
    record: RequestRecord,
    running: tuple[str, ...],
    found: Requests,
) -> None:
    assert _judge(damage, record, *running) == found
