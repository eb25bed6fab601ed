"""Revisions that are registered."""

from datetime import datetime

from pydantic import JsonValue

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import RevisionNumber


class RevisionRecord(Record):
    """A revision as it was registered; secrets are names in it."""

    deployment: str
    """The deployment's name."""
    number: RevisionNumber
    """Counted per deployment from 1; the same content has the same number."""
    digest: str
    """The SHA-256 of the content, 64 hexadecimal digits."""
    content: dict[str, JsonValue]
    """What is served and how, as a deployment file writes it."""
    created_at: datetime
    """When it was registered."""
