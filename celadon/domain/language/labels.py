"""Labels of deployments, by which tokens are scoped."""

import re
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator

from celadon.domain.language.limits import quoted

MOST_LABELS: Final = 64

_LABEL_NAME = re.compile(r"[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?)?")


def _check_labels(labels: dict[str, str]) -> dict[str, str]:
    if len(labels) > MOST_LABELS:
        raise ValueError(f"{len(labels)} labels are more than {MOST_LABELS}")
    for name, value in labels.items():
        if not _LABEL_NAME.fullmatch(name):
            raise ValueError(f"{quoted(name)} is no label: up to 63 lower-case letters, digits, '.', '_', '/' and '-'")
        if not _LABEL_VALUE.fullmatch(value):
            raise ValueError(f"{quoted(value)} is no value of a label: up to 63 letters, digits, '.', '_', '/' and '-'")
    return labels


Labels: TypeAlias = Annotated[dict[str, str], AfterValidator(_check_labels)]
"""For example ``{"team": "search", "env": "prod"}``."""
