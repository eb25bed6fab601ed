"""Judging a cell: the rollout's end, the rows, the processes, and every request that had no answer."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from celadon.domain.language.states import RolloutOutcome
from celadon.stack.demo.generator import request_name
from celadon.stack.demo.records import RequestRecord, RequestResult
from tests.chaos.expectations import TOLD_IN_EVERY_CELL, Expectation
from tests.chaos.faults import Damage
from tests.chaos.site import Site
from tests.chaos.subject import Subject
from tests.router_answers import DISCONNECTED

_SHOWN: Final = 10


class Requests(BaseModel):
    """What became of the requests of one cell."""

    sent: int = 0
    cut: int = 0
    """Ran on a replica that was killed."""
    unreachable: int = 0
    """Ran through an Envoy that was killed, or were sent before it served again."""
    none_left: int = 0
    """Sent while no live replica was left, because all were killed."""
    lost: int = 0
    """Had no answer for no such reason: none is allowed."""
    examples: list[str] = []


class Cell(BaseModel):
    """One fault at one moment."""

    fault: str
    moment: str
    problems: list[str]
    outcome: str
    requests: Requests
    seconds: float
    """From the strike until all was clean again."""
    refusals: list[str] = []
    """What the person who promoted was told before it went on."""
    evidence: dict[str, Any] = {}

    @property
    def ok(self) -> bool:
        """Whether it ended as it must."""
        return not self.problems


async def misjudged(site: Site, subject: Subject, expected: Expectation) -> tuple[str, list[str]]:
    """Return how the struck rollout ended, and what is wrong with it and with those after it."""
    wrong: list[str] = []
    rollouts = await site.rows(
        "select id, outcome, outcome_reason, switch_epoch, switch_back_epoch, live_set, green_set, blue_set "
        "from rollouts join deployments on name = deployment where deployment = :name and id > :before order by id",
        before=subject.before,
        **_of(subject),
    )
    followed = expected.next_one or (expected.begun_anew and not subject.start_is_spent)
    struck = rollouts[:-1] if followed else rollouts
    ends = [None if row["outcome"] is None else RolloutOutcome(row["outcome"]) for row in struck]
    if len(struck) > 1 or (not struck and None not in expected.outcomes):
        wrong.append(f"{len(struck)} rollouts instead of one: {', '.join(map(str, ends))}")
    wrong += [f"the rollout ended as {end}, not as {_any(expected)}" for end in ends if end not in expected.outcomes]
    if followed and (not rollouts or rollouts[-1]["outcome"] != RolloutOutcome.PROMOTED):
        wrong.append(f"the rollout after it ended as {rollouts[-1]['outcome'] if rollouts else None}")
    wrong += await wrong_switches(site, subject)
    wrong += [
        f"whoever promoted was told: {refusal}"
        for refusal in subject.refusals
        if re.search("|".join(filter(None, (TOLD_IN_EVERY_CELL, expected.may_be_told))), refusal) is None
    ]
    if rollouts:
        wrong += _wrong_live(rollouts[-1])
    return "+".join("none" if end is None else end.value for end in ends) or "none", wrong


async def wrong_switches(site: Site, subject: Subject) -> list[str]:
    """Return what is wrong with the switches and ends of this round's rollouts: one epoch a switch, one end each."""
    wrong: list[str] = []
    rollouts = await site.rows(
        "select id, outcome, switch_epoch, switch_back_epoch from rollouts where deployment = :name and id > :before",
        before=subject.before,
        **_of(subject),
    )
    events = await site.rows(
        "select rollout, kind, count(*) as times from rollout_events "
        "where deployment = :name and rollout > :before group by rollout, kind",
        before=subject.before,
        **_of(subject),
    )
    times = {(row["rollout"], row["kind"]): row["times"] for row in events}
    for row in rollouts:
        switched, back = times.get((row["id"], "switched"), 0), times.get((row["id"], "switched_back"), 0)
        if switched != (row["switch_epoch"] is not None) or back != (row["switch_back_epoch"] is not None):
            wrong.append(f"rollout {row['id']} switched {switched} times and back {back} times")
        if row["outcome"] == RolloutOutcome.PROMOTED and (switched, back) != (1, 0):
            wrong.append(f"rollout {row['id']} was promoted with {switched} switches and {back} switches back")
        if times.get((row["id"], "completed"), 0) != 1:
            wrong.append(f"rollout {row['id']} completed {times.get((row['id'], 'completed'), 0)} times")
    return wrong


def _wrong_live(last: Mapping[str, Any]) -> list[str]:
    went_back = last["switch_epoch"] is None or last["switch_back_epoch"] is not None
    due = last["blue_set"] if went_back else last["green_set"]
    return [] if last["live_set"] == due else [f"set {last['live_set']} is live and not set {due}"]


def judge_requests(
    deployment: str,
    seed: int,
    damage: Damage,
    running_when_killed: Collection[str],
    records: Sequence[RequestRecord],
) -> Requests:
    """Count the requests that had no answer by the reason that excuses them.

    Args:
        deployment: whose requests they are.
        seed: what names them.
        damage: what was done.
        running_when_killed: the names of those that ran on replicas which were killed, by the replicas' own journals.
        records: what became of each.

    """
    found = Requests(sent=len(records))
    none_left = damage.none_left.get(deployment)
    for record in records:
        if record.result is RequestResult.ANSWERED:
            continue
        broke_with_it = any(_in_its_socket(record, at) for at in damage.killed.values())
        if request_name(seed, record.number) in running_when_killed or broke_with_it:
            found.cut += 1
        elif any(record.sent_ns < until and record.end_ns >= since for since, until in damage.unreachable):
            found.unreachable += 1
        elif none_left is not None and none_left[0] <= record.sent_ns < none_left[1]:
            found.none_left += 1
        else:
            found.lost += 1
            if len(found.examples) < _SHOWN:
                sent, ended = (round((at - damage.struck_ns) / 1e9, 3) for at in (record.sent_ns, record.end_ns))
                found.examples.append(f"{record.kind.value}, sent {sent} s, ended {ended} s after: {record.error}")
    return found


def _in_its_socket(record: RequestRecord, killed_ns: int) -> bool:
    """Whether a request had reached a killed replica's socket and not yet its journal: it broke with the connection."""
    broke = DISCONNECTED in (record.error or "")
    return broke and record.sent_ns <= killed_ns <= record.end_ns


def _of(subject: Subject) -> dict[str, object]:
    return {"name": subject.name}


def _any(expected: Expectation) -> str:
    return " or ".join(sorted("none" if one is None else one.value for one in expected.outcomes))
