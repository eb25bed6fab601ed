"""Other timers are judged by what they do: who may not promote lets no switch happen without a person, nor sooner."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from celadon.client.signatures import AuthoritySettings, Signer
from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.commands import RescheduleCommand, TakenAway
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.permissions import Role, Verb
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import Judged, JudgeStep, Message
from celadon.table.core.policies import read_policy
from celadon.table.rollouts.route_sets import ask_for_edge, judge
from tests.api.conftest import DEADLINE_SECONDS, ApiClient, api, keys, rows  # noqa: F401 - fixtures
from tests.revisions import serving
from tests.security.test_signed_messages import authority, message, signer  # noqa: F401 - fixtures
from tests.table.rows import Opened, Rows

OPERATES = (Verb.PAUSE,)
DECIDES = (Verb.PAUSE, Verb.PROMOTE)
FAR = datetime.now(UTC) + timedelta(days=3000)
TIMED = {"auto_promote": True, "promote_after": "1h", "promotion_deadline": "1d"}
LATE = {"promotion_deadline": "1d", "on_deadline": "promote"}


async def begun(rows: Rows, **policy: object) -> Opened:  # noqa: F811
    """Return a second rollout that waits."""
    await rows.live()
    return await rows.ready("run-2", policy=policy)


async def asked(
    rows: Rows,  # noqa: F811
    opened: Opened,
    believing: Authority,
    *messages: Message,
    run: str = "run-2",
) -> tuple[list[str | None], Judged]:
    """Return the code with which each message is refused, nothing where it counts, and the answer."""
    step = JudgeStep(deployment="chat", rollout=opened.begun.rollout, run=run, messages=messages, at=datetime.now(UTC))
    # As it is after its journey through Temporal.
    travelled = JudgeStep.model_validate_json(step.model_dump_json())
    async with rows.table.transaction() as tx:
        answer = await judge(tx, travelled, believing)
    return [None if one is None else one.code.value for one in answer.refusals], answer


async def policy_of(rows: Rows, opened: Opened) -> BlueGreenPolicy:  # noqa: F811
    found = await rows.rows("select policy from rollouts where id = :id", id=opened.begun.rollout)
    return read_policy(found[0]["policy"])


def minutes(**said: Any) -> dict[str, Any]:
    return {name: timedelta(minutes=value) for name, value in said.items()}


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({}, {"auto_promote": True}),
        ({}, {"auto_promote": True, **minutes(promote_after=600)}),
        (TIMED, minutes(promote_after=10)),
        (TIMED | {"promote_at": FAR.isoformat()}, {"without": (TakenAway.PROMOTE_AT,)}),
        (
            TIMED | {"promote_at": FAR.isoformat()},
            {"promote_at": FAR - timedelta(days=1)},
        ),
        (LATE, minutes(promotion_deadline=10)),
        (TIMED | {"promotion_deadline": "30m"}, minutes(promotion_deadline=600)),
    ],
    ids=["on", "on, later", "sooner", "no moment", "an earlier moment", "a sooner deadline", "before the deadline"],
)
async def test_what_makes_a_switch_possible_or_sooner_takes_the_right_to_promote(
    rows: Rows,  # noqa: F811
    signer: Signer,  # noqa: F811
    authority: Authority,  # noqa: F811
    policy: dict[str, Any],
    said: dict[str, Any],
) -> None:
    opened = await begun(rows, **policy)
    before = await policy_of(rows, opened)

    refused, _ = await asked(rows, opened, authority, message(signer, "reschedule", "id-1", rights=OPERATES, **said))
    unchanged = await policy_of(rows, opened)
    counted, answer = await asked(
        rows, opened, authority, message(signer, "reschedule", "id-2", rights=DECIDES, **said)
    )

    assert (refused, counted) == (["FORBIDDEN"], [None])
    assert unchanged == before
    assert answer.policy == await policy_of(rows, opened) != before


@pytest.mark.parametrize(
    "said",
    [
        {"auto_promote": False},
        minutes(promote_after=600),
        {"promote_at": FAR},
        minutes(promotion_deadline=90),
    ],
    ids=["off", "later", "a later moment", "a shorter deadline that aborts"],
)
async def test_what_makes_a_switch_later_takes_the_right_to_pause_alone(
    rows: Rows,  # noqa: F811
    signer: Signer,  # noqa: F811
    authority: Authority,  # noqa: F811
    said: dict[str, Any],
) -> None:
    opened = await begun(rows, **TIMED)

    counted, answer = await asked(rows, opened, authority, message(signer, "reschedule", rights=OPERATES, **said))

    assert counted == [None]
    assert answer.policy == await policy_of(rows, opened)
    [line] = await rows.rows("select actor, verified, door from rollout_events where kind = 'rescheduled'")
    assert dict(line) == {"actor": "ann", "verified": True, "door": "api"}


async def test_nobody_changes_timers_without_a_right(rows: Rows, signer: Signer, authority: Authority) -> None:  # noqa: F811
    opened = await begun(rows, **TIMED)

    refused, _ = await asked(
        rows, opened, authority, message(signer, "reschedule", rights=(Verb.PROMOTE,), auto_promote=False)
    )

    assert refused == ["FORBIDDEN"]


@pytest.mark.parametrize("unsigned", Unsigned)
async def test_nobody_changes_timers_unsigned_unless_everybody_is_believed(
    rows: Rows,  # noqa: F811
    keys: Path,  # noqa: F811
    unsigned: Unsigned,
) -> None:
    opened = await begun(rows, **TIMED)
    believing = AuthoritySettings(verify_keys_file=keys / "key.pub", unsigned=unsigned).authority()
    command = parse_payload(RescheduleCommand, {"by": "eve", "auto_promote": False})

    refused, _ = await asked(
        rows, opened, believing, Message(verb="reschedule", came_by=Channel.SIGNAL, command=command)
    )

    assert refused == [None if unsigned is Unsigned.ALL else "UNSIGNED"]


async def test_a_second_attempt_changes_the_timers_once(rows: Rows, signer: Signer, authority: Authority) -> None:  # noqa: F811
    """Whoever asked first may not shorten what a later message of the same step has given."""
    opened = await begun(rows, **TIMED)
    first = message(signer, "reschedule", "id-1", rights=OPERATES, **minutes(promote_after=90))
    second = message(signer, "reschedule", "id-2", rights=OPERATES, **minutes(promote_after=120))

    once = await asked(rows, opened, authority, first, second)
    twice = await asked(rows, opened, authority, first, second)

    assert once == twice
    assert once[0] == [None, None]
    assert (await policy_of(rows, opened)).promote_after == timedelta(hours=2)
    assert await rows.value("select count(*) from rollout_events where kind = 'rescheduled'") == 2


async def test_a_run_that_was_reset_hears_of_the_timers_and_changes_them_not_again(
    rows: Rows,  # noqa: F811
    signer: Signer,  # noqa: F811
    authority: Authority,  # noqa: F811
) -> None:
    opened = await begun(rows, **TIMED)
    later = message(signer, "reschedule", rights=OPERATES, **minutes(promote_after=90))
    await asked(rows, opened, authority, later)

    again, answer = await asked(rows, opened, authority, later, run="run-3")
    async with rows.table.transaction() as tx:
        told = await ask_for_edge(tx, opened.switch_step())

    assert again == ["REQUEST_SPENT"]
    assert answer.policy is not None
    assert answer.policy.promote_after == told.policy.promote_after == timedelta(minutes=90)


async def test_timers_are_not_changed_after_the_switch(rows: Rows, signer: Signer, authority: Authority) -> None:  # noqa: F811
    opened = await begun(rows, **TIMED)
    await rows.switch(opened)

    refused, _ = await asked(rows, opened, authority, message(signer, "reschedule", rights=DECIDES, auto_promote=False))

    assert refused == ["NOTHING_TO_RESCHEDULE"]


async def test_an_operator_cannot_let_a_rollout_promote_itself(api: ApiClient, rows: Rows) -> None:  # noqa: F811
    """From the API to the table, as an operator and as an approver would."""
    await rows.live()
    body = {"deployment": "chat", "revision": serving("better")}
    assert (await api.call("POST", "/v1/rollouts", Role.ADMIN, body=body)).status == 202
    path = "/v1/deployments/chat/reschedule"
    sooner = {"auto_promote": True, "promote_after": "1h"}

    async with asyncio.timeout(DEADLINE_SECONDS):
        refused = await api.call("POST", path, Role.OPERATOR, body=sooner)
        done = await api.call("POST", path, Role.APPROVER, body=sooner)
        later = await api.call("POST", path, Role.OPERATOR, body={"promote_after": "2h"})

    assert refused.code == "FORBIDDEN"
    assert "auto_promote" in refused.json["detail"]
    assert (done.status, later.status) == (200, 200), (done.text, later.text)
