"""What of a deployment's traffic settings changes, and in which words people read it."""

from collections.abc import Collection
from typing import Final

from celadon.domain.language.durations import format_duration
from celadon.domain.language.plan import FieldChange
from celadon.domain.language.traffic import Balancing, TrafficKey, TrafficSettings

_DEFAULT: Final = "default"


def in_words(settings: TrafficSettings, key: TrafficKey) -> str:
    """Return one setting as a deployment file writes it; ``default`` where it has its default."""
    match key:
        case TrafficKey.MAX_REQUESTS:
            value = settings.max_requests
        case TrafficKey.MAX_BODY:
            return settings.max_body or _DEFAULT
        case TrafficKey.IDLE_TIMEOUT:
            return _DEFAULT if settings.idle_timeout is None else format_duration(settings.idle_timeout)
        case TrafficKey.RETRIES:
            value = settings.retries
        case TrafficKey.LOAD_BALANCING:
            if settings.hash_header is not None:
                return f"{{maglev: {{header: {settings.hash_header}}}}}"
            return _DEFAULT if settings.load_balancing is None else Balancing.LEAST_REQUEST.value
    return _DEFAULT if value is None else str(value)


def without(settings: TrafficSettings, keys: Collection[TrafficKey]) -> TrafficSettings:
    """Return the settings with some keys as they are by default.

    Of how replicas are chosen somebody has said something then, once and for all: requests may still run that went
    another way.
    """
    left: dict[str, object] = {key.value: None for key in keys}
    if TrafficKey.LOAD_BALANCING in keys and settings.load_balancing is not None:
        left[TrafficKey.LOAD_BALANCING.value] = Balancing.LEAST_REQUEST
    return settings.model_copy(update=left)


def changes_between(before: TrafficSettings, after: TrafficSettings) -> tuple[FieldChange, ...]:
    """Return the keys that differ, in the words of deployment files."""
    return tuple(
        FieldChange(field=key.value, before=in_words(before, key), after=in_words(after, key))
        for key in TrafficKey
        if in_words(before, key) != in_words(after, key)
    )
