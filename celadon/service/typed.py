"""What people type on a line, read as values of requests."""

from collections.abc import Iterable
from typing import Final

from celadon.domain.language.limits import quoted
from celadon.service.command import Option

DEPLOYMENT_FILE: Final = "The deployment file, YAML or JSON; - is standard input."
POLICY_FILE: Final = "A policy file; what the deployment file's own policy gives wins over it."
ALLOW_PLAIN_SECRETS: Final = Option(help="Allow plain values under names that look like secrets.")


class TypedWronglyError(ValueError):
    """What was typed is no such value; ``hint`` names the option."""

    def __init__(self, message: str, hint: str) -> None:
        """Say what is wrong with what was typed at ``hint``."""
        super().__init__(message)
        self.hint = hint


def labels_typed(given: Iterable[str], hint: str) -> dict[str, str]:
    """Return labels of ``NAME=VALUE``.

    Raises:
        TypedWronglyError: one is none, or is given twice.

    """
    labels: dict[str, str] = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator:
            raise TypedWronglyError(f"{quoted(one)} is no label: write NAME=VALUE, for example team=search", hint)
        if name in labels:
            raise TypedWronglyError(f"{quoted(name)} is given twice", hint)
        labels[name] = value
    return labels


def pairs_typed(given: Iterable[str], hint: str) -> dict[str, str]:
    """Return what follows each name of ``KEY=VALUE``.

    Raises:
        TypedWronglyError: one is none, or is given twice.

    """
    pairs: dict[str, str] = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator or not name:
            raise TypedWronglyError(f"{quoted(one)} says no value: write KEY=VALUE, for example revision=2", hint)
        if name in pairs:
            raise TypedWronglyError(f"{quoted(name)} is given twice", hint)
        pairs[name] = value
    return pairs
