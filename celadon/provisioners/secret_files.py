"""Secrets: one file each in a directory, read when they are used, never written anywhere.

A secret ``NAME`` may be bound to labels by a file ``NAME.labels`` beside it, with one ``name=value`` a line: then it is
for deployments that bear all of them, and for no other. A file that cannot be understood binds to nobody.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from celadon.domain.language.labels import Labels
from celadon.domain.language.revision import Revision
from celadon.provisioners.protocol import StartError

REPLICAS_VARIABLE: Final = "CELADON_SECRETS_DIR"

LABELS_SUFFIX: Final = ".labels"

LONGEST_SECRET: Final = 65_536
"""Bytes. A variable of a process can hold hardly more."""

_labels: Final = TypeAdapter[dict[str, str]](Labels)


class SecretFiles:
    """Looks secrets up by name."""

    def __init__(self, directory: Path | None, variable: str = REPLICAS_VARIABLE) -> None:
        """Take the directory, or ``None`` when there are no secrets; ``variable`` is what names it to an operator."""
        self._directory = directory
        self._variable = variable

    def resolve(self, revision: Revision, labels: Mapping[str, str]) -> dict[str, str]:
        """Return a revision's environment with the values of its secrets, for a deployment that bears some labels.

        Raises:
            StartError: a secret cannot be read, or is bound to other labels.

        """
        secrets = revision.secrets
        for secret in secrets.values():
            self.check_bound(secret, labels)
        plain = {name: value for name, value in revision.env.items() if isinstance(value, str)}
        return plain | {name: self.read(secret) for name, secret in secrets.items()}

    def values(self, revision: Revision) -> Iterator[tuple[str, str]]:
        """Yield names and values of a revision's secrets, as far as they can still be read."""
        for secret in set(revision.secrets.values()):
            try:
                yield secret, self.read(secret)
            except StartError:
                # It was removed meanwhile: there is nothing left to look for.
                continue

    def check_bound(self, name: str, labels: Mapping[str, str]) -> None:
        """Refuse a secret that is bound to labels which a deployment does not bear.

        Raises:
            StartError: it is, or what it is bound to cannot be told.

        """
        if self._directory is None:
            return
        file = self._directory / f"{name}{LABELS_SUFFIX}"
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(
                f"the labels of secret {name!r} cannot be read: see {file.name} in {self._variable}"
            ) from error
        bound = _parse_labels(text)
        if not bound:
            raise StartError(
                f"the labels of secret {name!r} cannot be read: write one name=value a line into {file.name} in "
                f"{self._variable}",
            )
        missing = {label: value for label, value in bound.items() if labels.get(label) != value}
        if missing:
            labels_text = ", ".join(f"{label}={value}" for label, value in sorted(missing.items()))
            raise StartError(
                f"secret {name!r} is for deployments with the label {labels_text}, which this one does not bear: use a "
                "secret of its own, or let an admin label the deployment",
            )

    def read(self, name: str) -> str:
        """Return the value of a secret.

        Raises:
            StartError: it cannot be read.

        """
        if self._directory is None:
            raise StartError(
                f"secret {name!r} cannot be looked up: the worker has no {self._variable}; "
                "set it to a directory with one file a secret",
            )
        if name.endswith(LABELS_SUFFIX):
            raise StartError(f"{name!r} is no secret: files that end with {LABELS_SUFFIX} say whom secrets are for")
        try:
            with (self._directory / name).open("rb") as file:
                content = file.read(LONGEST_SECRET + 1)
            value = content.decode()
        except FileNotFoundError as error:
            raise StartError(
                f"secret {name!r} is missing: write it to a file of that name in {self._variable}"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise StartError(f"secret {name!r} in {self._variable} cannot be read: {reason}") from error
        if len(content) > LONGEST_SECRET:
            raise StartError(f"secret {name!r} in {self._variable} is longer than {LONGEST_SECRET} bytes")
        if "\0" in value:
            raise StartError(f"secret {name!r} in {self._variable} holds a NUL character, which no variable can")
        return value.removesuffix("\n").removesuffix("\r")


def _parse_labels(text: str) -> dict[str, str]:
    """Read ``name=value`` lines; nothing when one of them is anything else."""
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    try:
        labels = _labels.validate_python({name.strip(): value.strip() for name, _, value in pairs})
    except ValidationError:
        return {}
    return labels if len(labels) == len(pairs) and all(equals for _, equals, _ in pairs) else {}
