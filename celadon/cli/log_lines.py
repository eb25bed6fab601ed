"""Log lines of commands that hardly ever have one: what writes them is loaded with the first."""

# ruff: noqa: PLC0415 - see above


def log_warning(event: str, **fields: object) -> None:
    """Log what a person should know, although the command goes on."""
    import structlog

    from celadon.logs import log_to_stderr

    log_to_stderr()
    structlog.get_logger().warning(event, **fields)
