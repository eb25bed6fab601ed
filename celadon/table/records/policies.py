"""Policies as the table knows them, for people."""

from datetime import datetime

from celadon.domain.language.base_models import Record
from celadon.domain.language.plan import FieldChange
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import Channel


class StoredPolicies(Record):
    """The layers of a policy that are stored, each with the keys alone that it gives."""

    defaults: BlueGreenPolicy
    """Of the installation."""
    own: BlueGreenPolicy
    """The deployment's own; empty where none is meant."""


class DefaultsChanged(Record):
    """One change of an installation's defaults."""

    at: datetime
    """When, by the database's clock."""
    by: str
    """Who changed them."""
    door: Channel
    """Through which door."""
    verified: bool
    """Whether a door vouches for who it was."""
    reason: str
    """Why."""
    changes: tuple[FieldChange, ...]
    """For which keys another value, or another layer, counted from then on."""
