"""The courier of notifications as the worker runs it."""

from temporalio.client import Client

from celadon.domain.decisions.delivery import RetrySchedule
from celadon.domain.decisions.notification_text import Places
from celadon.notifications.courier import Courier
from celadon.notifications.metrics import NotificationMetrics
from celadon.notifications.secrets import Secrets
from celadon.notifications.sender import Sender
from celadon.notifications.settings import NotificationSettings
from celadon.reach_settings import ReachSettings
from celadon.table.core.engine import Table
from celadon.table.core.listen import Listener


def courier_of(table: Table, listener: Listener, client: Client) -> Courier:
    """Return a courier that is configured by the environment.

    Raises:
        ValidationError: a variable is wrong.

    """
    settings = NotificationSettings()
    return Courier(
        table=table,
        listener=listener,
        sender=Sender(
            secrets=Secrets(settings.service_secrets_dir),
            places=Places(
                source=settings.event_source,
                console_url=settings.console_url,
                temporal_ui_url=settings.temporal_ui_url,
                temporal_namespace=client.namespace,
            ),
            timeout=settings.notify_timeout,
            reach=ReachSettings().reach,
        ),
        schedule=RetrySchedule(
            first=settings.notify_first_retry,
            longest=settings.notify_longest_retry,
            give_up_after=settings.notify_give_up_after,
        ),
        timeout=settings.notify_timeout,
        metrics=NotificationMetrics(),
    )
