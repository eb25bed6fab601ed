"""Deliveries of notifications, as a table for people."""

from datetime import UTC, datetime
from typing import Final

from celadon.cli.columns import table_of
from celadon.domain.language.moments import moment
from celadon.domain.language.notification import DeliveryState
from celadon.table.records.deliveries import ToldRecord
from celadon.terminal import Table, Text

_STYLES: Final = {
    DeliveryState.DELIVERED: "green",
    DeliveryState.WAITING: "yellow",
    DeliveryState.DEAD: "bold red",
    DeliveryState.CANCELLED: "dim",
}


def delivery_table(deliveries: tuple[ToldRecord, ...]) -> Table:
    """Return deliveries with what came of them."""
    table = table_of("TIME (UTC)", "ROLLOUT", "NOTIFIED OF", "TARGET", "STATE", "ATTEMPTS", "LAST ERROR")
    for one in deliveries:
        later = one.state is DeliveryState.WAITING and one.attempts == 0 and one.due_at > datetime.now(UTC)
        table.add_row(
            moment(one.at),
            "-" if one.rollout is None else str(one.rollout),
            one.kind.replace("_", " "),
            one.target,
            Text("due later" if later else one.state.value, style=_STYLES[one.state]),
            str(one.attempts),
            Text(one.last_error),
        )
    return table
