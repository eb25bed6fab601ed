"""Names of deployments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.names import MAX_NAME_LENGTH, PREVIEW_SUFFIX, DeploymentName

_name: TypeAdapter[str] = TypeAdapter(DeploymentName)
_DNS_LABEL_LENGTH = 63


@pytest.mark.parametrize("name", ["a", "chat", "llama-3-8b", "a1", "x" * MAX_NAME_LENGTH, "preview", "chat-previews"])
def test_a_dns_label_names_a_deployment(name: str) -> None:
    assert _name.validate_python(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "Chat", "1chat", "-chat", "chat-", "chat.eu", "chat_eu", "chat eu", "chät", "chat\n", "x" * 55, "a\0b"],
)
def test_what_is_no_dns_label_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="is no deployment name: use a DNS label"):
        _name.validate_python(name)


def test_names_of_previews_are_taken() -> None:
    with pytest.raises(ValidationError, match="the addresses of previews"):
        _name.validate_python("chat-preview")


@given(st.from_regex(r"[a-z]([a-z0-9-]{0,52}[a-z0-9])?", fullmatch=True))
def test_what_is_made_of_a_name_is_a_dns_label_too(name: str) -> None:
    if name.endswith(PREVIEW_SUFFIX):
        return
    known = _name.validate_python(name)

    assert len(known + PREVIEW_SUFFIX) <= _DNS_LABEL_LENGTH
    assert len(workflow_id(known)) <= _DNS_LABEL_LENGTH
