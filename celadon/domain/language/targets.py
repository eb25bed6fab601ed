"""What an operator says of a target, checked before it is kept."""

from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.notification import NotificationKind, TargetKind, TargetName
from celadon.domain.language.revision import SecretReference
from celadon.domain.language.webhook_signature import MAX_KEYS

_LONGEST_URL: Final = 2000


def check_url(value: str) -> str:
    """Return a URL that notifications may be sent to, else raise ``ValueError`` that says why.

    The text never shows the URL, which may be a secret.
    """
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("the URL is none; write https://HOST/PATH") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError("the URL is none that can be sent to; write https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL holds a password; keep the whole URL as a secret and name it with --url-secret")
    if parts.fragment or len(value) > _LONGEST_URL or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(
            f"the URL has a fragment, a space, other characters than ASCII, or above {_LONGEST_URL} of them"
        )
    return value


def _check_secret(value: str) -> str:
    return SecretReference(secret=value).secret


SecretName = Annotated[str, AfterValidator(_check_secret)]


class TargetRequest(StrictModel):
    """A target as an operator adds it; secrets are names of files in the workers' ``CELADON_SERVICE_SECRETS_DIR``."""

    name: TargetName
    kind: TargetKind = TargetKind.WEBHOOK
    url: Annotated[str, AfterValidator(check_url)] | None = None
    url_secret: SecretName | None = None
    signing_secrets: Annotated[tuple[SecretName, ...], Field(max_length=MAX_KEYS)] = ()
    every_deployment: bool = False
    events: tuple[NotificationKind, ...] = ()
    allow_plain_url: bool = False

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.url is None) == (self.url_secret is None):
            raise ValueError("give the URL, or the name of the secret that holds it, and not both")
        if self.kind is TargetKind.WEBHOOK and not self.signing_secrets:
            raise ValueError("a webhook is signed: name a secret with --secret NAME")
        if self.kind is TargetKind.SLACK and self.signing_secrets:
            raise ValueError("messages for Slack are not signed; leave --secret out")
        if self.kind is TargetKind.SLACK and self.url is not None and not self.allow_plain_url:
            raise ValueError(
                "whoever knows the URL of an incoming webhook can write there: keep it as a secret and name it with "
                "--url-secret NAME, or allow it with --allow-plain-url",
            )
        if len(set(self.signing_secrets)) != len(self.signing_secrets):
            raise ValueError("the same secret is named twice")
        if self.events and not self.every_deployment:
            raise ValueError(
                "the events of a target are those of every deployment (--every-deployment); a policy lists its own",
            )
        return self
