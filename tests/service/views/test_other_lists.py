"""Schedules, policies and freezes of all: both doors show the rows that the views make."""

import html
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from celadon.api.console.rendering import Person, render
from celadon.cli.policies import changes_table, policy_table
from celadon.cli.schedules import schedule_table
from celadon.domain.decisions.layers import layers_of
from celadon.domain.language.freeze import Freeze
from celadon.domain.language.plan import FieldChange
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import Channel
from celadon.service.command import Tone
from celadon.service.views.freezes import freeze_phrases
from celadon.service.views.policy import ShownPolicy, defaults_rows, policy_rows
from celadon.service.views.schedules import ScheduleFiring, ScheduleList, ScheduleState, ScheduleView, schedule_row
from celadon.table.records.policies import DefaultsChanged
from celadon.terminal import Table, TerminalConsole

NOW: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
ANN: Final = Person(name="ann", roles=(), csrf="x")


def schedule(**changes: Any) -> ScheduleView:
    values: dict[str, Any] = {
        "schedule": "nightly",
        "schedule_id": "celadon-chat-nightly",
        "state": ScheduleState.ACTIVE,
        "command": "scale",
        "argument": {"replicas": 3},
        "when": "0 3 * * * (UTC)",
        "author": "ben",
        "signed": False,
        "reason": "nobody asks at night",
        "next_at": NOW,
        "last": ScheduleFiring(at=NOW, came_of_it="failed", said="the deployment is frozen", workflow_id="w"),
    }
    return ScheduleView(**values | changes)


POLICY: Final = ShownPolicy(
    deployment=None,
    policy=layers_of(BlueGreenPolicy(), defaults=BlueGreenPolicy(bake=timedelta(minutes=7))),
    changes=(
        DefaultsChanged(
            at=NOW,
            by="cid",
            door=Channel.CLI,
            verified=False,
            reason="longer bakes",
            changes=(FieldChange(field="bake", before="5m", after="7m"),),
        ),
    ),
)


def printed(*tables: Table) -> str:
    stream = io.StringIO()
    console = TerminalConsole(stream, width=1000)
    for one in tables:
        console.show(one)
    return stream.getvalue()


def page(template: str, **values: Any) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", render(template, ANN, may=False, **values))))


def schedules_page(*listed: ScheduleView) -> str:
    rows = tuple(schedule_row(one) for one in listed)
    return page("schedules", name="chat", schedules=rows, is_first=True, next_after=None, left_out=False, verbs=())


def words_of_schedule(one: ScheduleView) -> Iterator[str]:
    row = schedule_row(one)
    yield from (row.name, row.command, row.when, row.author, row.state.text)
    yield "" if row.last is None else row.last.text


@pytest.mark.parametrize(
    "one",
    [schedule(), schedule(signed=True, last=None), schedule(state=ScheduleState.NOT_IN_TEMPORAL), schedule(author="")],
    ids=["failed", "signed", "lost", "nobody's"],
)
def test_a_schedule_is_told_with_the_same_words_at_both_doors(one: ScheduleView) -> None:
    listed = ScheduleList(items=(one,), left_out=False)

    for shown in (printed(schedule_table(listed)), schedules_page(one)):
        assert [word for word in words_of_schedule(one) if word not in shown] == []


def test_a_schedule_tells_what_its_command_says_and_who_has_merely_declared_to_be_its_author() -> None:
    row = schedule_row(schedule())

    assert (row.command, row.author) == ("scale replicas=3", "ben (declared)")
    assert schedule_row(schedule(signed=True)).author == "ben"


@pytest.mark.parametrize("state", ScheduleState)
def test_a_schedule_that_only_one_side_knows_stands_out(state: ScheduleState) -> None:
    broken = state in {ScheduleState.NOT_IN_TEMPORAL, ScheduleState.NOT_IN_CELADON}

    assert (schedule_row(schedule(state=state)).state.tone is Tone.WARN) is broken


def test_a_firing_that_failed_stands_out() -> None:
    row = schedule_row(schedule())

    assert row.last is not None
    assert (row.last.text, row.last.tone) == ("the deployment is frozen", Tone.BAD)


def test_a_policy_is_told_with_the_same_words_at_both_doors() -> None:
    keys, changes = policy_rows(POLICY.policy), defaults_rows(POLICY.changes)
    words = [word for row in keys for word in (row.key, row.value, row.layer)]
    words += [word for row in changes for word in (row.by, *row.changes, row.reason)]

    for shown in (
        printed(policy_table(POLICY), changes_table(POLICY)),
        page("policy", name=None, keys=keys, changes=changes, names=()),
    ):
        assert [word for word in words if word not in shown] == []
    assert [row.key for row in keys if row.is_set] == ["bake"]
    assert changes[0].by == "cid (declared)"


def test_a_freeze_that_holds_stands_out_from_one_that_is_to_come() -> None:
    planned, holding = (
        Freeze(id=number, everywhere=True, begins_at=NOW + timedelta(hours=begins), ends_at=None, by="ann")
        for number, begins in ((2, 1), (1, -1))
    )

    tones = [one.tone for one in freeze_phrases((planned, holding), "", NOW)]

    assert tones == [Tone.PLAIN, Tone.WARN]
