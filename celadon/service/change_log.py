"""The log line of a change; what writes it is loaded with the first, since the command line loads every command."""


def log_change(event: str, **fields: object) -> None:
    """Log that something has changed."""
    import structlog  # noqa: PLC0415 - see above

    structlog.get_logger().info(event, **fields)
