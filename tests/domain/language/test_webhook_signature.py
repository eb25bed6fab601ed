"""Signatures are those of Standard Webhooks, as its own library verifies them."""

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from celadon.domain.language.webhook_signature import parse_signing_key, signature_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of the standard's own examples
OTHER = "whsec_" + base64.b64encode(b"another key of thirty-two bytes!").decode()
BODY = '{"text":"r1 → r2"}'.encode()


def signed(*secrets: str, body: bytes = BODY) -> dict[str, str]:
    return signature_headers("6f1c", datetime.now(UTC), body, [parse_signing_key(secret) for secret in secrets])


def test_the_standards_own_library_takes_a_signature() -> None:
    assert Webhook(SECRET).verify(BODY, signed(SECRET)) == {"text": "r1 → r2"}


@pytest.mark.parametrize("known", [SECRET, OTHER])
def test_during_a_rotation_a_receiver_may_know_either_secret(known: str) -> None:
    assert Webhook(known).verify(BODY, signed(SECRET, OTHER))


def test_another_secret_another_body_another_id_are_found_out() -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(BODY, signed(SECRET))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY + b" ", signed(SECRET))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, {**signed(SECRET), "webhook-id": "6f1d"})


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins with whsec_"),
        ("whsec_not base64!", "is base64"),
        ("whsec_c2hvcnQ=", "24 to 64 bytes, not 5"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "24 to 64 bytes, not 65"),
    ],
)
def test_what_is_no_secret_is_refused_without_being_shown(secret: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        parse_signing_key(secret)
    assert secret.removeprefix("whsec_") not in str(refused.value)
