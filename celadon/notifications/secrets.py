"""Secrets of targets: looked up at every attempt, so that a new one counts at once; never kept, never shown."""

from pathlib import Path
from typing import Final

from celadon.provisioners.protocol import StartError
from celadon.provisioners.secret_files import SecretFiles

VARIABLE: Final = "CELADON_SERVICE_SECRETS_DIR"


class SecretError(Exception):
    """A secret cannot be read; the text names it and says what to do."""


class Secrets:
    """Celadon's own secrets, which no revision can name: they lie apart from those of replicas."""

    def __init__(self, directory: Path | None) -> None:
        """Read from ``directory``, one file a secret; ``None`` means that there are none."""
        self._files = SecretFiles(directory, VARIABLE)

    def read(self, name: str) -> str:
        """Return a secret.

        Raises:
            SecretError: it cannot be read.

        """
        try:
            return self._files.read(name).strip()
        except StartError as error:
            raise SecretError(str(error)) from error
