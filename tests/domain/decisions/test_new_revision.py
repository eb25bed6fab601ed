"""A new revision says how its health is known, and names the ports that it has."""

import pytest

from celadon.domain.decisions.new_revision import check_new_revision
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.health_check import HealthCheck
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.payload import InvalidPayloadError, parse_payload
from celadon.domain.language.presets import Preset
from celadon.domain.language.revision import Revision


def test_one_that_says_nothing_is_refused_with_the_presets_as_advice() -> None:
    with pytest.raises(InvalidPayloadError) as refused:
        check_new_revision(Revision(command=("serve",)))

    refusal = refused.value.refusal
    assert refusal.code is RefusalCode.INVALID_PAYLOAD
    assert "how its health is known" in refusal.message
    assert all(preset.value in refusal.next_step for preset in Preset)
    assert "tcp: true" in refusal.next_step


def test_thresholds_alone_say_nothing() -> None:
    with pytest.raises(InvalidPayloadError):
        check_new_revision(Revision(command=("serve",), health_check=HealthCheck(failure_threshold=5)))


@pytest.mark.parametrize("content", [{"tcp": True}, {"path": "/health"}, {"preset": "openai"}, {"grpc": {}}])
def test_one_that_says_it_passes(content: dict[str, object]) -> None:
    check_new_revision(Revision.model_validate({"command": ("serve",), "health_check": content}, strict=False))


def test_a_number_passes() -> None:
    check_new_revision(3)


def test_an_expression_that_cannot_be_compiled_is_refused_with_the_reason() -> None:
    content = {"path": "/health", "expect": {"regex": "ok(?=!)"}}

    with pytest.raises(InvalidPayloadError, match="look-around"):
        check_new_revision(Revision.model_validate({"command": ("serve",), "health_check": content}, strict=False))


def test_a_workflow_still_reads_the_request_of_an_earlier_version() -> None:
    """A recorded history holds requests without a health check, and a replay reads them again."""
    request = parse_payload(RolloutRequest, {"deployment": "chat", "revision": {"command": ["serve"]}})

    assert isinstance(request.revision, Revision)
    assert request.revision.health_check.says_nothing


@pytest.mark.parametrize(
    ("field", "content"),
    [
        ("command", {"command": ("serve", "{port.admin}")}),
        ("env", {"command": ("serve",), "env": {"A": "{port.admin}"}}),
    ],
)
def test_a_placeholder_of_a_port_that_is_not_there_is_refused(field: str, content: dict[str, object]) -> None:
    revision = Revision.model_validate({**content, "health_check": {"tcp": True}}, strict=False)

    with pytest.raises(InvalidPayloadError) as refused:
        check_new_revision(revision)

    assert refused.value.refusal.message == (
        f"revision.{field}: '{{port.admin}}' names a port that the revision does not have"
    )
    assert "http" in refused.value.refusal.next_step


def test_placeholders_of_ports_that_are_there_pass() -> None:
    content = {
        "command": ("serve", "{port}", "{port.http}", "{port.grpc}"),
        "ports": {"http": "http1", "grpc": "h2c"},
        "health_check": {"tcp": True},
    }

    check_new_revision(Revision.model_validate(content, strict=False))
