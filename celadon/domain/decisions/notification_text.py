"""How a notification reads: one sentence for people, a CloudEvent for programs, blocks for Slack."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from celadon.domain.decisions.approvals import APPROVALS, NEEDED
from celadon.domain.decisions.notification_rules import AT_THE_GATE
from celadon.domain.language.base_models import Record
from celadon.domain.language.moments import utc
from celadon.domain.language.notification import TEST_KIND, Notice, NotificationKind
from celadon.domain.language.policy import OnDeadline
from celadon.domain.language.shown_text import one_line
from celadon.domain.language.states import Channel

EVENT_TYPE_PREFIX: Final = "dev.celadon.rollout."
CLOUD_EVENTS_MEDIA_TYPE: Final = "application/cloudevents+json"

_SLACK_LONGEST: Final = 2900
"""Slack refuses a section of more than 3,000 characters."""

_MARKS: Final[Mapping[str, str]] = {
    NotificationKind.WAITING_FOR_PROMOTION: "\N{HAPPY PERSON RAISING ONE HAND}",
    NotificationKind.APPROVAL_MISSING: "\N{HAPPY PERSON RAISING ONE HAND}",
    NotificationKind.DEADLINE_NEAR: "\N{HOURGLASS WITH FLOWING SAND}",
    NotificationKind.HELD: "\N{RAISED HAND}",
    NotificationKind.SWITCHED: "\N{LARGE GREEN CIRCLE}",
    NotificationKind.ROLLED_BACK: "\N{LEFTWARDS ARROW WITH HOOK}\N{VARIATION SELECTOR-16}",
    NotificationKind.ABORTED: "\N{NO ENTRY}",
    NotificationKind.NEXT_HELD: "\N{HOURGLASS WITH FLOWING SAND}",
    NotificationKind.FAILED: "\N{POLICE CARS REVOLVING LIGHT}",
}


class Places(Record):
    """Where people look at a rollout; what is not known is left out."""

    source: str = "/celadon"
    """Names this Celadon among others in events (a URI reference)."""
    console_url: str = ""
    temporal_ui_url: str = ""
    temporal_namespace: str = "default"


class Event(Record):
    """A notification as it is sent: the same at every attempt."""

    id: str
    at: datetime
    notice: Notice


def links(notice: Notice, places: Places) -> dict[str, str]:
    """Return the pages on which a person can look and decide, by the names of their doors."""
    urls = {}
    if places.console_url:
        urls["console"] = f"{places.console_url.rstrip('/')}/deployments/{quote(notice.deployment, safe='')}"
    if places.temporal_ui_url and notice.run_id:
        namespace, workflow, run = (
            quote(part, safe="") for part in (places.temporal_namespace, notice.workflow_id, notice.run_id)
        )
        base = places.temporal_ui_url.rstrip("/")
        urls["temporal_ui"] = f"{base}/namespaces/{namespace}/workflows/{workflow}/{run}"
    return urls


def cloud_event(event: Event, places: Places) -> dict[str, Any]:
    """Return a CloudEvent 1.0 in structured mode, ready for JSON; its id is the same at every attempt."""
    notice = event.notice
    data = notice.model_dump(mode="json", exclude_none=True)
    for name in ("workflow_id", "run_id"):
        data.pop(name)
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": places.source,
        "type": EVENT_TYPE_PREFIX + notice.kind,
        "subject": f"deployments/{notice.deployment}/rollouts/{notice.rollout}",
        "time": event.at.isoformat(),
        "datacontenttype": "application/json",
        "data": {
            **{name: value for name, value in data.items() if value not in ("", [], {})},
            "workflow": {"id": notice.workflow_id, "run_id": notice.run_id},
            "text": sentence(notice),
            "links": links(notice, places),
        },
    }


def sentence(notice: Notice) -> str:  # noqa: C901, PLR0912 - a row for each kind
    """Return what happened, for people, in a sentence without a full stop."""
    move = f"{notice.deployment} {revision(notice.from_revision)} → {revision(notice.to_revision)}"
    who = _who(notice)
    because = f": {one_line(notice.reason)}" if notice.reason else ""
    match notice.kind:
        case NotificationKind.STARTED:
            return f"{move}: rollout {notice.rollout} started{who}{because}"
        case NotificationKind.VERIFIED:
            return f"{move}: green is verified"
        case NotificationKind.WAITING_FOR_PROMOTION:
            return f"{move}: waiting for {_awaited(notice)}{_deadlines(notice)}"
        case NotificationKind.APPROVAL_MISSING:
            # Of a timer that is due the reason says the same.
            of_person = "" if notice.door == Channel.TIMER else f", last{who}{because}"
            return f"{move}: {_missing(notice)}{of_person}"
        case NotificationKind.DEADLINE_NEAR:
            return f"{move}: the promotion deadline is near{_deadlines(notice)}"
        case NotificationKind.HELD:
            # What holds it says who wanted it.
            return f"{move}: held{because}"
        case NotificationKind.PROMOTED:
            return f"{move}: promoted{who}{because}"
        case NotificationKind.SWITCHED:
            return f"{move}: traffic is on {revision(notice.to_revision)}"
        case NotificationKind.ROLLED_BACK:
            return f"{move}: rolled back to {revision(notice.from_revision)}{who}{because}"
        case NotificationKind.ABORTED:
            return f"{move}: {notice.outcome or 'aborted'}{who}{because}"
        case NotificationKind.FAILED:
            return f"{move}: failed{because}"
        case NotificationKind.COMPLETED:
            outcome = notice.outcome.replace("_", " ")
            return f"{move}: rollout {notice.rollout} ended{f' ({outcome})' if outcome else ''}{because}"
        case NotificationKind.NEXT_REPLACED:
            return (
                f"{notice.deployment}: {_waiting(notice)} waits no more, another one has taken its place{who}{because}"
            )
        case NotificationKind.NEXT_HELD:
            return f"{notice.deployment}: {_waiting(notice)} does not start by itself{because}"
        case _ if notice.kind == TEST_KIND:
            return f"A test of notifications{who}{because}"
        case _:
            return f"{move}: {notice.kind.replace('_', ' ')}{who}{because}"


def slack_message(event: Event, places: Places) -> dict[str, Any]:
    """Return the body for an incoming webhook of Slack: text for notifications, blocks for the channel.

    What people wrote stands in texts that Slack shows as they are (``plain_text``), without links, styles or emoji.
    """
    notice = event.notice
    text = sentence(notice)
    mark = _MARKS.get(notice.kind, "")
    blocks: list[dict[str, Any]] = [_plain_section(f"{mark} {escape_slack(_shorten(text))}".strip())]
    if notice.who_may_decide and notice.kind in AT_THE_GATE:
        roles = escape_slack(" or ".join(notice.who_may_decide))
        blocks.append(_section(f"Who may decide: {roles}"))
    if notice.commands:
        lines = "\n".join(f"{escape_slack(name)}: `{_code(command)}`" for name, command in notice.commands.items())
        blocks.append(_section(lines))
    pages = {"console": "Console", "temporal_ui": "Temporal UI"}
    urls = links(notice, places)
    if urls:
        shown = " · ".join(f"<{_link(url)}|{pages[name]}>" for name, url in urls.items())
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": shown}]})
    return {"text": escape_slack(_shorten(text)), "mrkdwn": False, "blocks": blocks}


def escape_slack(text: str) -> str:
    """Escape what Slack reads as its own marks, so that a reason can neither link, mention nor notify a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def revision(number: int | None) -> str:
    """Return a revision's name."""
    return "nothing" if number is None else f"r{number}"


def _who(notice: Notice) -> str:
    if not notice.actor:
        return ""
    door = f" ({notice.door})" if notice.door and notice.door != Channel.POLICY else ""
    return f" by {one_line(notice.actor)}{door}"


def _awaited(notice: Notice) -> str:
    needed = notice.evidence.get(NEEDED)
    if needed is None:
        return "a promotion"
    return "the approval of 1 person" if needed == "1" else f"the approvals of {needed} people"


def _waiting(notice: Notice) -> str:
    """Return what waits or waited for its turn, and who asked for it."""
    by = notice.evidence.get("requested_by", "")
    return one_line(notice.evidence.get("revision", "what waits") + (f", which {by} asked for," if by else ""))


def _missing(notice: Notice) -> str:
    approvals, needed = notice.evidence.get(APPROVALS, "0"), notice.evidence.get(NEEDED, "1")
    left = int(needed) - int(approvals)
    return f"{'an approval is' if left == 1 else f'{left} approvals are'} missing, {approvals} of {needed} are given"


def _deadlines(notice: Notice) -> str:
    timers = []
    if notice.promotes_at is not None:
        timers.append(f"a timer promotes at {utc(notice.promotes_at)}")
    if notice.deadline is not None:
        then = {
            OnDeadline.ABORT: "aborted",
            OnDeadline.PROMOTE: "promoted",
            OnDeadline.HOLD: "held until a person decides",
        }
        after = then[OnDeadline(notice.on_deadline or OnDeadline.ABORT)]
        timers.append(f"without a decision by {utc(notice.deadline)} it is {after}")
    return f" ({'; '.join(timers)})" if timers else ""


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _plain_section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "plain_text", "text": text, "emoji": False}}


def _shorten(text: str) -> str:
    # One character may become five when it is escaped.
    line = re.sub(r"\s+", " ", one_line(text))
    limit = _SLACK_LONGEST // 5
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _code(text: str) -> str:
    return escape_slack(text.replace("`", "'"))


def _link(url: str) -> str:
    return escape_slack(url).replace("|", "%7C")
