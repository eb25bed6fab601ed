"""The reference page of a policy's keys, from the model that reads policies."""

import types
from datetime import timedelta
from enum import StrEnum
from typing import Any, Union, get_args, get_origin

from pydantic import AwareDatetime
from pydantic.fields import FieldInfo

from celadon.domain.language.base_models import field_texts
from celadon.domain.language.notification import MAX_TARGETS, NotificationKind, NotifyRule
from celadon.domain.language.policy import LATER_KEYS, BlueGreenPolicy
from tests.docs.tables import code, prose, table, value


def policy_page() -> str:
    """Return the page."""
    policy_texts, rule_texts = field_texts(BlueGreenPolicy), field_texts(NotifyRule)
    keys = [
        (code(name), _kind(field), value(field.default), prose(policy_texts[name]))
        for name, field in BlueGreenPolicy.model_fields.items()
    ]
    rule = [
        (code(name), "required" if field.is_required() else "optional", prose(rule_texts[name]))
        for name, field in NotifyRule.model_fields.items()
    ]
    events = ", ".join(code(kind.value) for kind in NotificationKind)
    later = ", ".join(code(key) for key in sorted(LATER_KEYS))
    return f"""# Policy keys

The keys of `policy` in a deployment file, and of a policy file (`celadon deploy --policy FILE`). An unknown key is
refused. Of several layers the last one that gives a key wins: defaults, the deployment's own policy, the policy of the
request. A duration is written as `30s`, `5m`, `1h30m`, `PT5M` or a number of seconds.

{table(("key", "value", "default", "meaning"), keys)}
An element of `notify` has these keys:

{table(("key", "", "meaning"), rule)}
The events are {events}.

These keys are refused by name, because this version does not carry them out: {later}.
"""


def _kind(field: FieldInfo) -> str:
    """Return in words which values a key takes."""
    kinds = _alternatives(field.annotation)
    words = [_words(kind, field) for kind in kinds if kind is not type(None)]
    return ", or ".join((*words, *(["none"] if type(None) in kinds else [])))


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)


def _words(kind: Any, field: FieldInfo) -> str:
    kind = get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
    if get_origin(kind) is tuple:
        return f"list of at most {MAX_TARGETS}"
    if kind is bool:
        return "`true`, `false`"
    if kind is timedelta:
        return "duration"
    if kind is AwareDatetime:
        return "moment with its zone, such as `2026-12-01T06:00:00+01:00`"
    if kind is int:
        return _range(field)
    if kind is str:
        return "share"
    if issubclass(kind, StrEnum):
        return ", ".join(code(one.value) for one in kind)
    raise TypeError(f"no words for values of {kind}")


def _range(field: FieldInfo) -> str:
    bounds = {name: getattr(one, name) for one in field.metadata for name in ("ge", "le") if hasattr(one, name)}
    return f"{bounds['ge']:,} to {bounds['le']:,}" if bounds else "count"
