"""Secrets of replicas: one file each in a directory, read when a replica starts, never written anywhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from celadon.domain.revision import Revision, SecretReference
from celadon.provisioners.protocol import StartError

_SHORTEST_REDACTED: Final = 4
"""Shorter values would also strike out what is no secret."""


class SecretFiles:
    """Looks secrets up by name."""

    def __init__(self, directory: Path | None) -> None:
        """Take the directory, or nothing when there are no secrets."""
        self._directory = directory

    def resolve(self, revision: Revision) -> dict[str, str]:
        """Return a revision's environment with the values of its secrets.

        Raises:
            StartError: a secret cannot be read.

        """
        return {
            name: self.read(value.secret) if isinstance(value, SecretReference) else value
            for name, value in revision.env.items()
        }

    def redact(self, revision: Revision, text: str) -> str:
        """Strike a revision's secrets out of what a replica has printed."""
        for name, value in self._readable(revision):
            text = text.replace(value, f"[secret {name}]")
        return text

    def _readable(self, revision: Revision) -> Iterator[tuple[str, str]]:
        for reference in revision.env.values():
            if not isinstance(reference, SecretReference):
                continue
            try:
                value = self.read(reference.secret)
            except StartError:
                # It was removed meanwhile: there is nothing left to look for.
                continue
            if len(value) >= _SHORTEST_REDACTED:
                yield reference.secret, value

    def read(self, name: str) -> str:
        """Return the value of a secret.

        Raises:
            StartError: it cannot be read.

        """
        if self._directory is None:
            raise StartError(
                f"secret {name!r} cannot be looked up: the worker has no CELADON_SECRETS_DIR; "
                "set it to a directory with one file a secret",
            )
        try:
            value = (self._directory / name).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise StartError(
                f"secret {name!r} is missing: write it to a file of that name in CELADON_SECRETS_DIR"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise StartError(f"secret {name!r} in CELADON_SECRETS_DIR cannot be read: {reason}") from error
        if "\0" in value:
            raise StartError(f"secret {name!r} in CELADON_SECRETS_DIR holds a NUL character, which no variable can")
        return value.removesuffix("\n").removesuffix("\r")
