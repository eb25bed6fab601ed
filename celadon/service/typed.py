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


def pairs_typed(given: Iterable[str], hint: str, form: str = "NAME=VALUE, for example team=search") -> dict[str, str]:
    """Return what follows each name of ``NAME=VALUE``; ``form`` is what people are told to write.

    Raises:
        TypedWronglyError: one is of another form, or is given twice.

    """
    pairs: dict[str, str] = {}
    for pair in given:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise TypedWronglyError(f"{quoted(pair)} gives no value to a name: write {form}", hint)
        if name in pairs:
            raise TypedWronglyError(f"{quoted(name)} is given twice", hint)
        pairs[name] = value
    return pairs
