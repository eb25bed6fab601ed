"""How one revision differs from another, as people may be shown it: secrets are struck out."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from celadon.domain.language.limits import echo
from celadon.domain.language.masking import mask
from celadon.domain.language.plan import FieldChange
from celadon.domain.language.revision import Revision
from celadon.domain.language.secret_names import is_secret_header, looks_secret

MOST_CHANGES: Final = 50
_SHOWN_BYTES: Final = 300
_HIDDEN: Final = "[hidden]"


def differences(before: Revision, after: Revision) -> tuple[tuple[FieldChange, ...], int]:
    """Return what differs, by the names of fields, at most :data:`MOST_CHANGES`; and how many more differ."""
    old, new = (dict(_fields("", one.model_dump(mode="json"))) for one in (before, after))
    names = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
    shown = tuple(
        FieldChange(field=echo(name, _SHOWN_BYTES), before=_shown(name, old), after=_shown(name, new))
        for name in names[:MOST_CHANGES]
    )
    return shown, len(names) - len(shown)


def _fields(name: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any value of JSON
    """Yield the values below a name; a reference to a secret is one value."""
    if isinstance(value, dict) and not (name.startswith("env.") and set(value) == {"secret"}):
        for key, inner in value.items():
            yield from _fields(f"{name}.{key}" if name else key, inner)
    else:
        yield name, value


def _shown(name: str, fields: Mapping[str, Any]) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if isinstance(value, dict):
        return echo(json.dumps(value), _SHOWN_BYTES)
    if is_secret_header(name.rpartition(".")[2]):
        return _HIDDEN
    if isinstance(value, list):
        return echo(mask(" ".join(_without_secrets(value))), _SHOWN_BYTES)
    return echo(mask(value if isinstance(value, str) else json.dumps(value)), _SHOWN_BYTES)


def _without_secrets(arguments: list[Any]) -> Iterator[str]:
    """Yield arguments; what follows an option whose name looks like a secret is hidden."""
    hides = False
    for one in arguments:
        text = one if isinstance(one, str) else json.dumps(one)
        yield _HIDDEN if hides else text
        hides = text.startswith("-") and looks_secret(text.strip("-").replace("-", "_")) and "=" not in text
