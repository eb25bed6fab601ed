"""The reference page of a policy's keys, from the model that reads policies."""

import types
from datetime import timedelta
from enum import StrEnum
from typing import Any, Union, get_args, get_origin

from annotated_types import MaxLen
from pydantic import AwareDatetime
from pydantic.fields import FieldInfo

from celadon.domain.language.approval import ApprovalRule
from celadon.domain.language.base_models import field_texts, written_name
from celadon.domain.language.notification import NotificationKind, NotifyRule
from celadon.domain.language.policy import LATER_KEYS, BlueGreenPolicy, RollbackWindow
from celadon.domain.language.window import Weekday, Window
from tests.docs.tables import code, prose, table, value


def policy_page() -> str:
    """Return the page."""
    policy_texts, rule_texts = field_texts(BlueGreenPolicy), field_texts(NotifyRule)
    keys = [
        (code(name), kind(field), value(field.default), prose(policy_texts[name]))
        for name, field in BlueGreenPolicy.model_fields.items()
    ]
    rollback_texts = field_texts(RollbackWindow)
    rollback_window = [
        (code(name), kind(field), value(field.default), prose(rollback_texts[name]))
        for name, field in RollbackWindow.model_fields.items()
    ]
    rule = [
        (code(name), "required" if field.is_required() else "optional", prose(rule_texts[name]))
        for name, field in NotifyRule.model_fields.items()
    ]
    window_texts = field_texts(Window)
    window = [
        (
            code(written_name(name, field)),
            "required" if field.is_required() else f"optional, default {value(field.default)}",
            prose(window_texts[name]),
        )
        for name, field in Window.model_fields.items()
    ]
    approvals = [
        (code(name), kind(field), "required" if field.is_required() else value(field.default), prose(text))
        for (name, field), text in zip(
            ApprovalRule.model_fields.items(), field_texts(ApprovalRule).values(), strict=True
        )
    ]
    events = ", ".join(code(kind.value) for kind in NotificationKind)
    days = ", ".join(code(day.value) for day in Weekday)
    later = ", ".join(code(key) for key in sorted(LATER_KEYS))
    return f"""# Policy keys

The keys of `policy` in a deployment file, and of a policy file (`celadon deploy --policy FILE`). An unknown key is
refused. Of several layers the last one that gives a key wins: defaults, the deployment's own policy, the policy of the
request. A duration is written as `30s`, `5m`, `1h30m`, `PT5M` or a number of seconds.

{table(("key", "value", "default", "meaning"), keys)}
An element of `windows` has these keys ([guide](../guide.md#windows)):

{table(("key", "", "meaning"), window)}
Days are {days}. `approvals` has these keys:

{table(("key", "value", "default", "meaning"), approvals)}
`rollback_window` has these keys:

{table(("key", "value", "default", "meaning"), rollback_window)}
An element of `notify` has these keys:

{table(("key", "", "meaning"), rule)}
The events are {events}.

These keys are refused by name, because this version does not carry them out: {later}.
"""


def kind(field: FieldInfo) -> str:
    """Return in words which values a key takes."""
    kinds = _alternatives(field.annotation)
    words = [_words(one, _within(one) or field) for one in kinds if one is not type(None)]
    return ", or ".join((*words, *(["none"] if type(None) in kinds else [])))


def _within(kind: Any) -> FieldInfo | None:
    """Return what a value must be like when the key may also be none."""
    return next((one for one in getattr(kind, "__metadata__", ()) if isinstance(one, FieldInfo)), None)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)


def _words(kind: Any, field: FieldInfo) -> str:
    kind = get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
    if get_origin(kind) is tuple:
        longest = next(one.max_length for one in field.metadata if isinstance(one, MaxLen))
        return f"list of at most {longest}"
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
    if kind is ApprovalRule:
        return "an object, see below"
    if kind is RollbackWindow:
        return "`{revisions, age}`"
    if issubclass(kind, StrEnum):
        return ", ".join(code(one.value) for one in kind)
    raise TypeError(f"no words for values of {kind}")


def _range(field: FieldInfo) -> str:
    bounds = {name: getattr(one, name) for one in field.metadata for name in ("ge", "le") if hasattr(one, name)}
    return f"{bounds['ge']:,} to {bounds['le']:,}" if bounds else "count"
