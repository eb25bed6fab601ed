"""The one parser of what comes from outside."""

import json
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, model_validator

from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.commands import AbortCommand, PromoteCommand, RescheduleCommand
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.messages import GreenChanged, RolloutRequest
from celadon.domain.language.payload import parse_payload

REQUEST: dict[str, Any] = {"deployment": "chat", "revision": {"command": ["serve"]}}
COMMANDS = (PromoteCommand, AbortCommand)


WINDOW = {"days": ["mon"], "from": "09:00", "to": "17:00", "zone": "Europe/Berlin"}


def refusal_of(model: type[BaseModel], payload: object) -> str:
    with pytest.raises(RefusedError) as refused:
        parse_payload(model, payload)
    assert refused.value.refusal.code is RefusalCode.INVALID_PAYLOAD
    return str(refused.value)


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_a_command_without_fields(command: type[BaseModel]) -> None:
    assert parse_payload(command, None) == command()
    assert parse_payload(command, {}) == command()


def test_nothing_is_no_rollout() -> None:
    told = refusal_of(RolloutRequest, None)

    assert "deployment: must be given" in told
    assert "revision: must be given" in told


@pytest.mark.parametrize("payload", [7, 1.5, True, "promote", [], [{}], ["chat", 2], b"{}"])
@pytest.mark.parametrize("model", [RolloutRequest, *COMMANDS, GreenChanged])
def test_what_is_no_object_is_refused_with_the_keys_that_there_are(model: type[BaseModel], payload: object) -> None:
    told = refusal_of(model, payload)

    assert "not an object" in told
    assert f"keys among: {', '.join(model.model_fields)}" in told


@pytest.mark.parametrize("model", [RolloutRequest, *COMMANDS])
def test_an_unknown_key_is_refused_by_name(model: type[BaseModel]) -> None:
    assert "revison: unknown key" in refusal_of(
        model, {**REQUEST, "revison": 2} if model is RolloutRequest else {"revison": 2}
    )


def test_an_unknown_key_is_told_with_the_one_that_is_near() -> None:
    assert "policy.bakes: unknown key, did you mean 'bake'?" in refusal_of(
        RolloutRequest, {**REQUEST, "policy": {"bakes": 1}}
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"policy": {"on_deadline": "promot"}},
            "policy.on_deadline: must be 'abort', 'promote' or 'hold', did you mean 'promote'?",
        ),
        (
            {"revision": {"command": ["serve"], "health_check": {"preset": "opnai"}}},
            "'ray-serve' or 'grpc', did you mean 'openai'?",
        ),
    ],
)
def test_a_word_that_is_none_is_told_with_the_one_that_is_near(changes: dict[str, Any], told: str) -> None:
    assert told in refusal_of(RolloutRequest, {**REQUEST, **changes})


def test_a_word_that_is_like_none_is_told_with_all_that_there_are() -> None:
    told = refusal_of(RolloutRequest, {**REQUEST, "policy": {"on_deadline": "whatever"}})

    assert "policy.on_deadline: must be 'abort', 'promote' or 'hold';" in told


def test_an_unknown_key_of_an_object_inside_is_told_with_the_keys_of_that_object() -> None:
    told = refusal_of(RolloutRequest, {**REQUEST, "policy": {"zz": 1}})

    assert "the keys of 'policy' are: " in told
    assert "auto_promote" in told
    assert "deployment" not in told.partition("are: ")[2]


@pytest.mark.parametrize("typed", [2, "r2"])
def test_a_revision_may_be_called_as_people_do(typed: object) -> None:
    assert parse_payload(PromoteCommand, {"revision": typed}).revision == 2


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ({"revision": "2"}, "revision: must be a whole number"),
        ({"revision": 2.0}, "revision: must be a whole number"),
        ({"revision": True}, "revision: must be a whole number"),
        ({"revision": 0}, "revision: must be at least 1"),
        ({"revision": 10**30}, "revision: must be at most"),
        ({"rollout": -1}, "rollout: must be at least 1"),
        ({"force": "yes"}, "force: must be true or false"),
        ({"by": 7}, "by: must be text"),
        ({"by": None}, "by: must be text"),
        ({"by": "x" * 201}, "by: must have at most 200 characters"),
    ],
)
def test_a_wrong_type_is_refused_with_the_key(command: dict[str, Any], told: str) -> None:
    assert told in refusal_of(PromoteCommand, command)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"deployment": "Chat"}, "deployment: 'Chat' is no deployment name"),
        ({"replicas": -1}, "replicas: must be at least 0"),
        ({"replicas": 10_001}, "replicas: must be at most 10000"),
        ({"revision": None}, "revision: must be a whole number"),
        ({"revision": 10**12}, "revision: must be at most"),
        ({"revision": {"command": []}}, "revision: a revision of provisioner 'local' needs a command"),
        ({"revision": {"image": "m:1"}}, "revision.image: not carried out by this version, remove it"),
        ({"policy": {"min_healthy": "120%"}}, "policy.min_healthy: min_healthy is a share above 0% and up to 100%"),
        ({"policy": {"shadow_percent": 5}}, "policy.shadow_percent: not carried out by this version, remove it"),
        ({"policy": {"bakes": 1}}, "policy.bakes: unknown key"),
        (
            {"policy": {"windows": [WINDOW | {"days": ["monday"]}]}},
            "policy.windows.0.days.0: must be 'mon', 'tue',",
        ),
        ({"policy": {"windows": [WINDOW | {"days": []}]}}, "policy.windows.0.days: must not be empty"),
        ({"policy": {"windows": [WINDOW | {"days": ["mon", "mon"]}]}}, "policy.windows.0.days: mon is listed twice"),
        ({"policy": {"windows": [WINDOW | {"from": "9:00"}]}}, "policy.windows.0.from: '9:00' is no time of day"),
        ({"policy": {"windows": [WINDOW | {"from": "24:00"}]}}, "policy.windows.0.from: a window opens from '00:00'"),
        ({"policy": {"windows": [WINDOW | {"to": 1020}]}}, "policy.windows.0.to: 1020 is no time of day"),
        ({"policy": {"windows": [WINDOW | {"to": "25:00"}]}}, "policy.windows.0.to: '25:00' is no time of day"),
        ({"policy": {"windows": [WINDOW | {"to": "09:00"}]}}, "a window of a whole day is from '00:00' to '24:00'"),
        (
            {"policy": {"windows": [WINDOW | {"zone": "../x"}]}},
            "policy.windows.0.zone: '../x' is no name of a time zone",
        ),
        ({"policy": {"windows": [WINDOW | {"zone": "A" * 65}]}}, "is no name of a time zone"),
        ({"policy": {"windows": [WINDOW | {"applies": "all"}]}}, "policy.windows.0.applies: unknown key, did you mean"),
        ({"policy": {"windows": [WINDOW | {"form": "1"}]}}, "policy.windows.0.form: unknown key, did you mean 'from'?"),
        ({"policy": {"windows": [{"days": ["mon"]}]}}, "policy.windows.0.from: must be given"),
        ({"policy": {"windows": [WINDOW] * 21}}, "policy.windows: must have at most 20 elements"),
        (
            {"revision": {"command": ["serve"], "health_check": {"timeout": "soon"}}},
            "revision.health_check.timeout: 'soon' is no duration",
        ),
    ],
)
def test_what_is_wrong_inside_is_told_with_its_path(changes: dict[str, Any], told: str) -> None:
    assert told in refusal_of(RolloutRequest, {**REQUEST, **changes})


def test_every_wrong_key_is_told_up_to_five() -> None:
    told = refusal_of(PromoteCommand, {f"key{number}": 1 for number in range(8)})

    assert told.count("unknown key") == 5
    assert "and 3 more" in told


def test_a_plain_secret_is_refused_unless_it_is_allowed() -> None:
    request = {**REQUEST, "revision": {"command": ["serve"], "env": {"HF_TOKEN": "hf_very_private"}}}

    told = refusal_of(RolloutRequest, request)

    assert "HF_TOKEN" in told
    assert "hf_very_private" not in told
    assert parse_payload(RolloutRequest, {**request, "allow_plain_secrets": True})


def test_a_revision_is_an_object_or_its_number() -> None:
    assert parse_payload(RolloutRequest, {**REQUEST, "revision": 3}).revision == 3
    assert not isinstance(parse_payload(RolloutRequest, REQUEST).revision, int)


def test_an_instance_is_taken_as_it_is() -> None:
    command = PromoteCommand(by="ann")

    assert parse_payload(PromoteCommand, command) is command


def test_an_instance_of_another_model_is_read_by_its_given_keys() -> None:
    assert parse_payload(PromoteCommand, AbortCommand(by="ann")) == PromoteCommand(by="ann")


def test_what_is_no_json_is_refused() -> None:
    assert "the input cannot be read" in refusal_of(PromoteCommand, {"by": object()})


def test_an_input_nested_without_end_is_refused() -> None:
    payload: dict[str, Any] = {}
    for _ in range(100_000):
        payload = {"by": payload}

    assert refusal_of(PromoteCommand, payload)


def test_a_long_input_is_shown_in_part() -> None:
    assert len(refusal_of(PromoteCommand, "x" * 100_000)) < 1000


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_keys = st.sampled_from(
    sorted(
        {*RolloutRequest.model_fields, *PromoteCommand.model_fields, *GreenChanged.model_fields, "image", "windows"}
    ),
)


@given(_json | st.dictionaries(_keys, _json, max_size=6), st.sampled_from([RolloutRequest, *COMMANDS, GreenChanged]))
def test_any_json_is_read_or_refused(payload: object, model: type[BaseModel]) -> None:
    try:
        parsed = parse_payload(model, payload)
    except RefusedError:
        return
    assert parse_payload(model, json.loads(parsed.model_dump_json())) == parsed


@given(
    st.fixed_dictionaries(
        {"deployment": st.just("chat"), "revision": st.integers() | st.just({"command": ["serve"]})},
        optional={
            "replicas": st.integers(min_value=-1, max_value=11_000),
            "policy": st.dictionaries(
                st.sampled_from(["auto_promote", "promote_after", "min_healthy", "bake", "max_replacements"]),
                st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["5m", "80%", "PT1H"]),
            ),
        },
    ),
)
def test_any_request_that_is_nearly_right_is_read_or_refused(payload: dict[str, Any]) -> None:
    try:
        parsed = parse_payload(RolloutRequest, payload)
    except RefusedError:
        return
    assert RolloutRequest.model_validate_json(parsed.model_dump_json()) == parsed


class _Raises(StrictModel):
    """A model whose validator raises what only a strange value would."""

    error: str

    @model_validator(mode="after")
    def _fails(self) -> Self:
        raise _ERRORS[self.error]


_ERRORS: dict[str, Exception] = {
    "overflow": OverflowError("date value out of range"),
    "arithmetic": ZeroDivisionError("division by zero"),
    "depth": RecursionError("maximum recursion depth exceeded"),
    "memory": MemoryError(),
    "type": TypeError("no"),
}


@pytest.mark.parametrize("error", _ERRORS)
def test_whatever_reading_a_value_raises_is_a_refusal(error: str) -> None:
    assert "the input cannot be read" in refusal_of(_Raises, {"error": error})


@pytest.mark.parametrize("payload", [10**5000, [10**5000], {"by": 10**5000}], ids=["number", "list", "object"])
def test_a_number_that_python_does_not_write_is_refused(payload: object) -> None:
    refusal_of(PromoteCommand, payload)


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("payload", [_nested(100_000), {"by": _nested(100_000)}], ids=["list", "object"])
def test_what_is_too_deep_is_refused(payload: object) -> None:
    refusal_of(PromoteCommand, payload)


@pytest.mark.parametrize(
    "payload",
    [{"reason": "a\0b"}, {"issuer": "\0"}, {"signature": "\\\\\0"}, {"a\0": 1}],
    ids=["reason", "issuer", "behind a backslash", "key"],
)
def test_a_character_that_the_database_cannot_keep_is_refused(payload: object) -> None:
    refusal_of(PromoteCommand, payload)


def test_what_only_looks_like_such_a_character_is_taken() -> None:
    assert parse_payload(PromoteCommand, {"reason": "\\u0000"}).reason == "\\u0000"


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
@pytest.mark.parametrize("key", ["by", "reason", "issuer", "signature"])
def test_half_a_character_is_refused(key: str, text: str) -> None:
    refusal_of(PromoteCommand, {key: text})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["promote_after", "promotion_deadline", "promote_at", "rollout", "by"])
def test_what_is_no_number_is_refused(key: str, number: float) -> None:
    refusal_of(RescheduleCommand, {key: number})


@pytest.mark.parametrize(
    ("revision", "told"),
    [
        ({"command": ["serve"], "env": {"A": 1}}, "revision.env.A: must be text or an object"),
        ({"command": ["serve"], "env": {"A": {"secret": 7}}}, "revision.env.A.secret: must be text"),
        ({"command": ["serve"], "env": {"A": {}}}, "revision.env.A.secret: must be given"),
        (
            {"command": ["serve"], "health_check": {"path": "/", "expect": {"status": "x"}}},
            (
                "revision.health_check.expect.status: 'x' is no status: write a code such as 204, or a range such as "
                "'200-299'; or it must be a list"
            ),
        ),
        (2.5, "revision: must be a whole number"),
    ],
)
def test_what_a_key_may_be_otherwise_is_told_once_and_by_its_key_alone(revision: object, told: str) -> None:
    sentence = refusal_of(RolloutRequest, {**REQUEST, "revision": revision})

    assert sentence.startswith(f"{told}; send one JSON object with keys among: ")


def test_of_a_list_with_a_wrong_element_the_element_alone_is_told() -> None:
    told = refusal_of(RolloutRequest, {**REQUEST, "policy": {"windows": [WINDOW | {"days": ["moon"]}]}})

    assert "policy.windows.0.days.0: must be 'mon', 'tue'," in told
    assert "must not be empty" not in told
