"""How notifications read."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celadon.domain.decisions.notification_text import Event, Places, cloud_event, escape_slack, sentence, slack_message
from celadon.domain.language.notification import TEST_KIND, Notice, NotificationKind
from celadon.domain.language.shown_text import find_control

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PLACES = Places(
    source="https://celadon.example/prod",
    console_url="https://celadon.example/",
    temporal_ui_url="https://temporal.example",
    temporal_namespace="models",
)


def content(kind: str, **given: Any) -> Notice:
    return Notice(
        deployment="chat",
        rollout=7,
        kind=kind,
        workflow_id="rollout-chat",
        run_id="run-1",
        from_revision=1,
        to_revision=2,
        phase="awaiting_promotion",
        requested_by="ann",
        **given,
    )


WAITING = content(
    "waiting_for_promotion",
    reason="green is verified",
    deadline=AT + timedelta(hours=1),
    on_deadline="abort",
    who_may_decide=("approver", "admin"),
    commands={"promote": "celadon promote chat --revision 2 --rollout 7", "abort": "celadon abort chat --rollout 7"},
)


@pytest.mark.parametrize(
    ("notice", "told"),
    [
        (content("started", actor="ann", reason="new"), "chat r1 → r2: rollout 7 started by ann: new"),
        (content("verified"), "chat r1 → r2: green is verified"),
        (
            WAITING,
            "chat r1 → r2: waiting for a promotion (without a decision by 2026-03-01 13:00:00 UTC it is aborted)",
        ),
        (
            content("waiting_for_promotion", promotes_at=AT),
            "chat r1 → r2: waiting for a promotion (a timer promotes at 2026-03-01 12:00:00 UTC)",
        ),
        (content("waiting_for_promotion"), "chat r1 → r2: waiting for a promotion"),
        (
            content("waiting_for_promotion", evidence={"needed": "2"}),
            "chat r1 → r2: waiting for the approvals of 2 people",
        ),
        (
            content("approval_missing", actor="ann", door="api", evidence={"approvals": "1", "needed": "2"}),
            "chat r1 → r2: an approval is missing, 1 of 2 are given, last by ann (api)",
        ),
        (
            content("approval_missing", actor="policy", door="timer", evidence={"approvals": "0", "needed": "2"}),
            "chat r1 → r2: 2 approvals are missing, 0 of 2 are given",
        ),
        (
            content("deadline_near", deadline=AT, on_deadline="hold"),
            (
                "chat r1 → r2: the promotion deadline is near "
                "(without a decision by 2026-03-01 12:00:00 UTC it is held until a person decides)"
            ),
        ),
        (
            content("held", actor="ann", reason="paused since noon by ann"),
            "chat r1 → r2: held: paused since noon by ann",
        ),
        (content("promoted", actor="ben", door="update", reason="ok"), "chat r1 → r2: promoted by ben (update): ok"),
        (content("switched"), "chat r1 → r2: traffic is on r2"),
        (content("rolled_back", actor="ben", door="cli"), "chat r1 → r2: rolled back to r1 by ben (cli)"),
        (
            content("aborted", actor="policy", door="timer", outcome="expired", reason="nobody promoted within 1h"),
            "chat r1 → r2: expired by policy (timer): nobody promoted within 1h",
        ),
        (content("failed", reason="green failed: exit code 3"), "chat r1 → r2: failed: green failed: exit code 3"),
        (content("completed", outcome="rolled_back"), "chat r1 → r2: rollout 7 ended (rolled back)"),
        (
            content("next_replaced", actor="cid", evidence={"revision": "r3", "requested_by": "ben"}),
            "chat: r3, which ben asked for, waits no more, another one has taken its place by cid",
        ),
        (
            content("next_held", reason="rollout 7 failed", evidence={"revision": "r3", "requested_by": "ben"}),
            "chat: r3, which ben asked for, does not start by itself: rollout 7 failed",
        ),
        (content(TEST_KIND, actor="ann", reason="nothing"), "A test of notifications by ann: nothing"),
    ],
)
def test_a_sentence(notice: Notice, told: str) -> None:
    assert sentence(notice) == told


def test_every_kind_has_a_sentence_of_its_own() -> None:
    told = {sentence(content(kind.value, outcome="", deadline=AT)) for kind in NotificationKind}

    assert len(told) == len(NotificationKind)


def test_a_cloud_event() -> None:
    assert cloud_event(Event(id="6f1c", at=AT, notice=WAITING), PLACES) == {
        "specversion": "1.0",
        "id": "6f1c",
        "source": "https://celadon.example/prod",
        "type": "dev.celadon.rollout.waiting_for_promotion",
        "subject": "deployments/chat/rollouts/7",
        "time": "2026-03-01T12:00:00+00:00",
        "datacontenttype": "application/json",
        "data": {
            "deployment": "chat",
            "rollout": 7,
            "kind": "waiting_for_promotion",
            "from_revision": 1,
            "to_revision": 2,
            "phase": "awaiting_promotion",
            "requested_by": "ann",
            "verified": False,
            "reason": "green is verified",
            "deadline": "2026-03-01T13:00:00Z",
            "on_deadline": "abort",
            "who_may_decide": ["approver", "admin"],
            "commands": {
                "promote": "celadon promote chat --revision 2 --rollout 7",
                "abort": "celadon abort chat --rollout 7",
            },
            "workflow": {"id": "rollout-chat", "run_id": "run-1"},
            "text": "chat r1 → r2: waiting for a promotion (without a decision by 2026-03-01 13:00:00 UTC it is "
            "aborted)",
            "links": {
                "console": "https://celadon.example/deployments/chat",
                "temporal_ui": "https://temporal.example/namespaces/models/workflows/rollout-chat/run-1",
            },
        },
    }


def test_a_message_for_slack() -> None:
    told = "chat r1 → r2: waiting for a promotion (without a decision by 2026-03-01 13:00:00 UTC it is aborted)"
    promote = "promote: `celadon promote chat --revision 2 --rollout 7`"

    assert slack_message(Event(id="6f1c", at=AT, notice=WAITING), PLACES) == {
        "text": told.replace(">", "&gt;"),
        "mrkdwn": False,
        "blocks": [
            {"type": "section", "text": {"type": "plain_text", "text": f"🙋 {told}", "emoji": False}},
            {"type": "section", "text": {"type": "mrkdwn", "text": "Who may decide: approver or admin"}},
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": f"{promote}\nabort: `celadon abort chat --rollout 7`"},
            },
            {
                "type": "context",
                "elements": [
                    {
                        "type": "mrkdwn",
                        "text": "<https://celadon.example/deployments/chat|Console> · "
                        "<https://temporal.example/namespaces/models/workflows/rollout-chat/run-1|Temporal UI>",
                    },
                ],
            },
        ],
    }


def test_a_reason_can_neither_link_nor_call_a_channel() -> None:
    hostile = content("failed", reason="<!channel> & <https://evil.example|here>\nsee" + "x" * 9000)
    message = slack_message(Event(id="1", at=AT, notice=hostile), Places())

    shown = message["blocks"][0]["text"]["text"]
    assert "&lt;!channel&gt; &amp; &lt;https://evil.example|here&gt; see" in shown
    assert "<" not in shown
    assert len(shown) < 3000
    assert message["text"] == escape_slack(sentence(hostile).replace("\n", " ")[:579]) + "…"


def test_what_people_wrote_is_plain_text_for_slack() -> None:
    reason = "*bold* _it_ ~no~ `code` :boom: @here\x1b[31m\u202e\u200b <@U123|ann> https://evil.example"
    message = slack_message(
        Event(id="1", at=AT, notice=content("started", actor="ben\x9b *x*", reason=reason)), Places()
    )

    (block,) = message["blocks"]
    assert block["text"]["type"] == "plain_text"
    assert block["text"]["emoji"] is False
    assert "*bold* _it_ ~no~ `code` :boom: @here\\x1b[31m\\u202e\\u200b &lt;@U123|ann&gt;" in block["text"]["text"]
    assert "by ben\\x9b *x*" in block["text"]["text"]
    assert message["mrkdwn"] is False
    assert not find_control(message["text"])


def test_a_sentence_is_one_line() -> None:
    told = sentence(content("failed", actor="ann\nbob", reason="one\n\ttwo\x1b"))

    assert told == "chat r1 → r2: failed: one two\\x1b"


def test_without_addresses_nothing_is_linked() -> None:
    event = Event(id="1", at=AT, notice=content("switched"))

    assert cloud_event(event, Places())["data"]["links"] == {}
    assert [block["type"] for block in slack_message(event, Places())["blocks"]] == ["section"]
