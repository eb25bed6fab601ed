"""What many measurements of one thing come to."""

import math
import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of all do not exceed; there must be one."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> dict[str, float | int]:
    """Return median, 99th percentile and largest of milliseconds, as cells of a table."""
    return {
        "median ms": round(statistics.median(values), 2),
        "p99 ms": round(percentile(values, 0.99), 2),
        "largest ms": round(max(values), 2),
    }


def bound_of_none(trials: int, confidence: float = CONFIDENCE) -> float:
    """Return below which share of bad trials none of ``trials`` was bad, with the given confidence.

    Were the true share larger, a run without a bad one would come about less often than ``1 - confidence``.
    """
    return 1.0 - math.pow(1.0 - confidence, 1.0 / trials)
