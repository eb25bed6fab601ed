"""Health checks of known model servers, as data.

A server opens its port, and often answers its health path, long before it can answer a request. So a preset may have a
first, heavier probe, which is sent until the replica was healthy once; after that the light one alone is sent, because
a real request costs the time of an accelerator.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from pydantic import JsonValue

from celadon.domain.language.expectation import Expectation
from celadon.domain.language.probe import GrpcProbe, GrpcQuestion, HttpProbe

FIRST_TIMEOUT: Final = timedelta(seconds=30)
"""How long a first probe may take unless the health check says otherwise: the first token of a large model is slow."""

_MODEL: Final = "{model}"


class Preset(StrEnum):
    """A health check that Celadon knows."""

    OPENAI = "openai"
    VLLM = "vllm"
    SGLANG = "sglang"
    LLAMA_CPP = "llama.cpp"
    KSERVE_V2 = "kserve-v2"
    KSERVE_V2_GRPC = "kserve-v2-grpc"
    BENTOML = "bentoml"
    LITSERVE = "litserve"
    RAY_SERVE = "ray-serve"
    GRPC = "grpc"


class Needs(StrEnum):
    """Whether a preset takes a key."""

    NOTHING = "no"
    MAY = "optional"
    MUST = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetProbes:
    """What a preset asks; ``{model}`` stands for the model that the health check names."""

    servers: str
    """For which servers it is."""
    light: HttpProbe | GrpcProbe
    first: HttpProbe | None = None
    model: Needs = Needs.NOTHING
    own_first: Needs = Needs.MAY
    """Whether the health check's own ``first`` takes the place of the preset's."""
    source: str
    """Where it is known from, in words."""


_ONE_TOKEN: Final = HttpProbe(
    method="POST",
    path="/v1/chat/completions",
    body={"model": _MODEL, "messages": [{"role": "user", "content": "1"}], "max_tokens": 1},
    timeout=FIRST_TIMEOUT,
)

PRESETS: Final[Mapping[Preset, PresetProbes]] = MappingProxyType(
    {
        Preset.OPENAI: PresetProbes(
            servers="any server with `/health` and chat completions in the way of OpenAI",
            light=HttpProbe(path="/health"),
            first=_ONE_TOKEN,
            model=Needs.MAY,
            source="the health path says that the process runs; one generated token says that the model answers",
        ),
        Preset.VLLM: PresetProbes(
            servers="vLLM (`vllm serve`)",
            light=HttpProbe(path="/health"),
            first=replace(_ONE_TOKEN, path="/v1/completions", body={"model": _MODEL, "prompt": "1", "max_tokens": 1}),
            model=Needs.MAY,
            source="vLLM's `/health` cannot be reached until the engine is ready; completions need no chat template",
        ),
        Preset.SGLANG: PresetProbes(
            servers="SGLang",
            light=HttpProbe(path="/health"),
            first=HttpProbe(path="/health_generate", timeout=FIRST_TIMEOUT),
            source="SGLang's `/health_generate` generates one token, and answers 503 while the server starts",
        ),
        Preset.LLAMA_CPP: PresetProbes(
            servers="llama.cpp (`llama-server`)",
            light=HttpProbe(path="/health", expect=Expectation(json={"status": "ok"})),
            source='llama.cpp\'s `/health` answers 503 while the model loads, then `{"status": "ok"}`',
        ),
        Preset.KSERVE_V2: PresetProbes(
            servers="MLServer, KServe and others with the V2 inference protocol over REST",
            light=HttpProbe(path=f"/v2/models/{_MODEL}/ready"),
            model=Needs.MUST,
            source="the V2 protocol's readiness of a model; MLServer answers 400 while the model loads",
        ),
        Preset.KSERVE_V2_GRPC: PresetProbes(
            servers="the same over gRPC",
            light=GrpcProbe(question=GrpcQuestion.MODEL_READY, name=_MODEL),
            model=Needs.MUST,
            source="the V2 protocol's `ModelReady`",
        ),
        Preset.BENTOML: PresetProbes(
            servers="BentoML",
            light=HttpProbe(path="/readyz"),
            source="BentoML accepts connections well before `/readyz` answers 200, which it does once it can serve",
        ),
        Preset.LITSERVE: PresetProbes(
            servers="LitServe",
            light=HttpProbe(path="/health"),
            source="LitServe refuses connections until its workers are set up; then `/health` answers 200",
        ),
        Preset.RAY_SERVE: PresetProbes(
            servers="Ray Serve",
            light=HttpProbe(path="/-/healthz"),
            own_first=Needs.MUST,
            source="Ray Serve's `/-/healthz` answers 200 while no replica of the application can answer: only a real "
            "request tells, so `first` names one",
        ),
        Preset.GRPC: PresetProbes(
            servers="any server with grpc.health.v1",
            light=GrpcProbe(),
            source="the health protocol of gRPC, asked for the server as a whole; `grpc: {service: NAME}` asks for one",
        ),
    },
)


def light_probe(preset: Preset, model: str, timeout: timedelta, port: str | None) -> HttpProbe | GrpcProbe:
    """Return the probe that is sent again and again."""
    match PRESETS[preset].light:
        case HttpProbe() as probe:
            return replace(probe, path=probe.path.replace(_MODEL, model), timeout=timeout, port=port)
        case GrpcProbe() as probe:
            return replace(probe, name=probe.name.replace(_MODEL, model), timeout=timeout, port=port)


def first_probe(preset: Preset, model: str, port: str | None) -> HttpProbe | None:
    """Return the probe that is sent until the replica was healthy once, or ``None`` when the light one is enough."""
    first = PRESETS[preset].first
    return None if first is None else replace(first, body=_with_model(first.body, model), port=port)


def _with_model(body: JsonValue, model: str) -> JsonValue:
    """Return a body with the model's name; without the key that would have it when no model is named."""
    if not isinstance(body, dict):
        return body
    return {key: model if value == _MODEL else value for key, value in body.items() if model or value != _MODEL}
