"""Names and numbers that identify things, each with a type of its own."""

import re
from typing import Annotated, Final, NewType

from pydantic import AfterValidator, WithJsonSchema

from celadon.domain.language.limits import quoted

MAX_NAME_LENGTH: Final = 54
"""A DNS label has at most 63 characters (RFC 1035); ``-preview`` and ``rollout-`` must fit around a name."""

PREVIEW_SUFFIX: Final = "-preview"

_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")

RevisionNumber = NewType("RevisionNumber", int)
Epoch = NewType("Epoch", int)
RolloutId = NewType("RolloutId", int)
RouteSetId = NewType("RouteSetId", int)
RouteId = NewType("RouteId", str)
RouterNode = NewType("RouterNode", str)
Fence = NewType("Fence", int)


_REVISION_NAME = re.compile(r"r[1-9][0-9]{0,9}")


def revision_number(value: object) -> object:
    """Return 2 for ``r2``, as revisions are called where people read them; any other value as it is."""
    return int(value[1:]) if isinstance(value, str) and _REVISION_NAME.fullmatch(value) else value


def _check_deployment_name(value: str) -> str:
    """Return ``value`` when it can name a deployment, else raise ``ValueError`` that says why."""
    if not _LABEL.fullmatch(value) or len(value) > MAX_NAME_LENGTH:
        raise ValueError(
            f"{quoted(value)} is no deployment name: use a DNS label of at most {MAX_NAME_LENGTH} characters "
            "(lower-case letters, digits and '-', beginning with a letter, ending with a letter or digit)",
        )
    if value.endswith(PREVIEW_SUFFIX):
        raise ValueError(
            f"{quoted(value)} is no deployment name: names that end in '{PREVIEW_SUFFIX}' are the addresses of "
            "previews",
        )
    return value


DeploymentName = Annotated[
    str,
    AfterValidator(_check_deployment_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_LABEL.pattern}$", "maxLength": MAX_NAME_LENGTH}),
]
"""A DNS label that names a deployment, its address and, with ``rollout-`` before it, its workflow."""
