"""What an operator may say of a target."""

from typing import Any

import pytest
from pydantic import ValidationError

from celadon.domain.language.notification import NotificationKind, TargetKind
from celadon.domain.language.targets import TargetRequest

WEBHOOK: dict[str, Any] = {"name": "ops", "url": "https://ops.example/hook", "signing_secrets": ("hook-key",)}
SLACK: dict[str, Any] = {"name": "ops", "kind": TargetKind.SLACK, "url_secret": "slack-url"}


@pytest.mark.parametrize(
    "given",
    [
        WEBHOOK,
        SLACK,
        {**WEBHOOK, "url": None, "url_secret": "hook-url"},
        {**WEBHOOK, "signing_secrets": ("new", "old")},
        {**WEBHOOK, "every_deployment": True, "events": (NotificationKind.FAILED,)},
        {**SLACK, "url_secret": None, "url": "http://127.0.0.1:8000/x", "allow_plain_url": True},
    ],
)
def test_a_target_is_taken(given: dict[str, Any]) -> None:
    assert TargetRequest(**given).name == "ops"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({**WEBHOOK, "signing_secrets": ()}, "a webhook is signed"),
        ({**WEBHOOK, "signing_secrets": ("a", "b", "c")}, "at most 2 items"),
        ({**WEBHOOK, "signing_secrets": ("a", "a")}, "named twice"),
        ({**WEBHOOK, "signing_secrets": ("../etc/passwd",)}, "no secret's name"),
        ({**WEBHOOK, "url_secret": "hook-url"}, "and not both"),
        ({**WEBHOOK, "url": None}, "give the URL"),
        ({**WEBHOOK, "url": "ftp://ops.example/"}, "none that can be sent to"),
        ({**WEBHOOK, "url": "https:///hook"}, "none that can be sent to"),
        ({**WEBHOOK, "url": "https://ops.example:99999/"}, "the URL is none"),
        ({**WEBHOOK, "url": "https://ann:pw@ops.example/"}, "holds a password"),
        ({**WEBHOOK, "url": "https://ops.example/a b"}, "a space"),
        ({**WEBHOOK, "events": (NotificationKind.FAILED,)}, "--every-deployment"),
        ({**SLACK, "signing_secrets": ("hook-key",)}, "not signed"),
        ({**SLACK, "url_secret": None, "url": "https://hooks.example/T/B/x"}, "--url-secret"),
    ],
)
def test_a_target_is_refused_with_the_reason(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        TargetRequest(**given)


def test_a_refused_url_is_not_repeated_in_the_reason() -> None:
    with pytest.raises(ValidationError) as refused:
        TargetRequest(**{**WEBHOOK, "url": "https://ann:hunter2@ops.example/"})
    assert "hunter2" not in str(refused.value.errors(include_input=False))
