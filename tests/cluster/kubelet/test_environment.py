"""The environment of a container."""

import base64
from collections.abc import Mapping
from typing import Final

import pytest
from lightkube.models.core_v1 import (
    ConfigMapKeySelector,
    Container,
    EnvVar,
    EnvVarSource,
    ObjectFieldSelector,
    SecretKeySelector,
)

from tests.cluster.kubelet.environment import ConfigurationError, environment_of, expand

FIELDS: Final = {"metadata.namespace": "models", "status.podIP": "127.20.1.1"}
OBJECTS: Final = {
    ("secret", "hub"): {"token": base64.b64encode(b"hf_1234").decode()},
    ("configmap", "limits"): {"length": "4096"},
}


async def lookup(kind: str, name: str) -> Mapping[str, str] | None:
    """Return the data of an object that is there."""
    return OBJECTS.get((kind, name))


async def value_of(variable: EnvVar) -> str | None:
    """Return what a container finds in a variable."""
    container = Container(name="server", env=[EnvVar(name="FIRST", value="1"), variable])
    return (await environment_of(container, "chat", FIELDS, lookup)).get(variable.name)


def from_secret(name: str, key: str, *, optional: bool = False) -> EnvVar:
    """Return a variable with a value of a Secret."""
    reference = SecretKeySelector(name=name, key=key, optional=optional)
    return EnvVar(name="VALUE", valueFrom=EnvVarSource(secretKeyRef=reference))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        (EnvVar(name="VALUE"), ""),
        (EnvVar(name="VALUE", value="$(FIRST) of $$(FIRST) and $(NONE)"), "1 of $(FIRST) and $(NONE)"),
        (EnvVar(name="VALUE", valueFrom=EnvVarSource(fieldRef=ObjectFieldSelector("status.podIP"))), "127.20.1.1"),
        (from_secret("hub", "token"), "hf_1234"),
        (from_secret("hub", "other", optional=True), None),
        (
            EnvVar(name="VALUE", valueFrom=EnvVarSource(configMapKeyRef=ConfigMapKeySelector("length", name="limits"))),
            "4096",
        ),
    ],
)
async def test_values_come_from_where_the_pod_says(variable: EnvVar, value: str | None) -> None:
    assert await value_of(variable) == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        (from_secret("none", "token"), 'secret "none" not found'),
        (from_secret("hub", "other"), "couldn't find key other in Secret models/hub"),
    ],
)
async def test_what_is_missing_is_told_in_the_words_of_a_kubelet(variable: EnvVar, text: str) -> None:
    with pytest.raises(ConfigurationError) as missing:
        await value_of(variable)

    assert str(missing.value) == text


def test_a_command_is_expanded_as_an_environment_is() -> None:
    assert expand("--port=$(PORT)", {"PORT": "8000"}) == "--port=8000"
