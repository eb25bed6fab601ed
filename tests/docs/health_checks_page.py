"""The reference page of health checks, from the models that read them and the presets' own data."""

from typing import Any

from pydantic import BaseModel

from celadon.domain.decisions.probe_answer import MOST_BODY
from celadon.domain.language.base_models import field_texts, written_name
from celadon.domain.language.expectation import Expectation
from celadon.domain.language.health_check import FirstProbe, GrpcCheck, HealthCheck
from celadon.domain.language.presets import PRESETS, Needs, Preset, PresetProbes
from celadon.domain.language.probe import GrpcProbe, HttpProbe
from celadon.domain.language.revision import Revision
from tests.docs.tables import code, prose, table, value

_MODEL = "{model}"


def health_checks_page() -> str:
    """Return the page."""
    presets = [
        (code(preset.value), facts.servers, _light(facts), _first(facts), _needs(facts), prose(facts.source))
        for preset, facts in ((preset, PRESETS[preset]) for preset in Preset)
    ]
    return f"""# Health checks

The keys of `revision.health_check` in a deployment file. Exactly one of `preset`, `path`, `grpc` and `tcp` says how the
health of a replica is known; a new revision that says none of them is refused. Revisions that were registered before
this was asked for mean `tcp: true`. An unknown key is refused.

{_keys(HealthCheck)}
`first` has these keys:

{_keys(FirstProbe)}
`expect` has these keys, here and in `first`. Of an answer whose body is looked at, the first {MOST_BODY:,} bytes are
read; a longer one cannot be read as JSON.

{_keys(Expectation)}
`grpc` has this key:

{_keys(GrpcCheck)}
Beside the health check, a revision has `start_timeout`: {prose(field_texts(Revision)["start_timeout"])}

## Presets

`model` is the model's name on the server; where it is optional, the request names none without it. A `first` of one's
own takes the place of the preset's.

{table(("preset", "for", "light probe", "first probe", "needs", "why"), presets)}"""


def _keys(model: type[BaseModel]) -> str:
    texts = field_texts(model)
    rows = [
        (
            code(written_name(name, field)),
            _default(field.get_default(call_default_factory=True), field.is_required()),
            prose(texts[name]),
        )
        for name, field in model.model_fields.items()
    ]
    return table(("key", "default", "meaning"), rows)


def _default(given: Any, required: bool) -> str:  # noqa: FBT001 - as its call reads
    if required:
        return "required"
    if given == {} or given == Expectation():
        return "none"
    return value(given)


def _light(facts: PresetProbes) -> str:
    match facts.light:
        case HttpProbe() as probe:
            return code(f"{probe.method} {probe.path}") + _expected(probe.expect)
        case GrpcProbe() as probe:
            return code(probe.question.value.removeprefix("/")) + (" of the model" if probe.name == _MODEL else "")


def _expected(expect: Expectation) -> str:
    wanted = ", ".join(f"{key}: {given}" for key, given in expect.json_values.items())
    return f" with {code(wanted)}" if wanted else ""


def _first(facts: PresetProbes) -> str:
    if facts.first is None:
        return "the one that `first` gives" if facts.own_first is Needs.MUST else "none"
    asks = " for one token" if facts.first.body is not None else ""
    return code(f"{facts.first.method} {facts.first.path}") + asks


def _needs(facts: PresetProbes) -> str:
    needed = [key for key, needs in (("model", facts.model), ("first", facts.own_first)) if needs is Needs.MUST]
    may = ["model (optional)"] if facts.model is Needs.MAY else []
    return ", ".join([*map(code, needed), *may]) or "nothing"
