"""The environment of a container, with what it takes from fields, Secrets and ConfigMaps."""

import base64
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from lightkube.models.core_v1 import Container, EnvVar, EnvVarSource

_REFERENCE: Final = re.compile(r"\$\$|\$\(([A-Za-z_.\-][\w.\-]*)\)")
"""A name in brackets, or a doubled dollar, which stands for one."""

Lookup = Callable[[str, str], Awaitable[Mapping[str, str] | None]]
"""Returns the data of an object by kind (``secret``, ``configmap``) and name; ``None`` when there is no such object."""


class ConfigurationError(Exception):
    """A container refers to something that is not there; the text is what a kubelet says of it."""


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by its value where the name is known; ``$$`` becomes ``$``."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] is None else environment.get(found[1], found[0])

    return _REFERENCE.sub(value, text)


async def environment_of(
    container: Container, hostname: str, fields: Mapping[str, str], lookup: Lookup
) -> dict[str, str]:
    """Return a container's environment; ``fields`` has the values of a pod's fields by their paths.

    Raises:
        ConfigurationError: a Secret, a ConfigMap or a key of one is missing and not optional.

    """
    # The Python of the tests is first on the path, so that "python3" of a pod has their packages.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {"PATH": path, "HOSTNAME": hostname}
    for variable in container.env or []:
        value = await _value_of(variable, environment, fields, lookup)
        if value is not None:
            environment[variable.name] = value
    return environment


async def _value_of(
    variable: EnvVar, environment: Mapping[str, str], fields: Mapping[str, str], lookup: Lookup
) -> str | None:
    if variable.valueFrom is None:
        return expand(variable.value or "", environment)
    if variable.valueFrom.fieldRef is not None:
        return fields.get(variable.valueFrom.fieldRef.fieldPath, "")
    return await _referred(variable.valueFrom, fields["metadata.namespace"], lookup)


async def _referred(source: EnvVarSource, namespace: str, lookup: Lookup) -> str | None:
    """Return the value of a key of a Secret or ConfigMap; ``None`` where it is optional and missing."""
    reference = source.secretKeyRef or source.configMapKeyRef
    if reference is None:
        raise ConfigurationError("only fieldRef, secretKeyRef and configMapKeyRef are known here")
    kind, shown = ("secret", "Secret") if source.secretKeyRef is not None else ("configmap", "ConfigMap")
    name = reference.name or ""
    data = await lookup(kind, name)
    if data is not None and reference.key in data:
        value = data[reference.key]
        return base64.b64decode(value).decode() if kind == "secret" else value
    if reference.optional:
        return None
    if data is None:
        raise ConfigurationError(f'{kind} "{name}" not found')
    raise ConfigurationError(f"couldn't find key {reference.key} in {shown} {namespace}/{name}")
