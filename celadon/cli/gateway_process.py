"""``celadon gateway`` and ``celadon gateway bootstrap``."""

import json
import logging
import sys

import typer
from pydantic import ValidationError

from celadon.cli.ending import ExitCode
from celadon.cli.faults import CommandError
from celadon.domain.names import RouterNode
from celadon.gateway.addresses import SocketAddress
from celadon.gateway.bootstrap import bootstrap
from celadon.gateway.process import run_gateway
from celadon.gateway.settings import GatewaySettings
from celadon.logs import log_to_stderr


async def run_gateway_process() -> ExitCode:
    """Serve routers until a signal ends it.

    Raises:
        CommandError: an address cannot be listened on.
        ValidationError: a setting is missing or wrong.

    """
    log_to_stderr(logging.INFO)
    settings = GatewaySettings()
    try:
        await run_gateway(settings)
    except OSError as error:
        raise CommandError(
            f"the gateway cannot run: {error}; end what listens there, or set CELADON_GATEWAY_ADDRESS (now "
            f"{settings.gateway_address}) and CELADON_GATEWAY_METRICS_ADDRESS (now "
            f"{settings.gateway_metrics_address or 'not set'}) to free addresses",
        ) from error
    return ExitCode.DONE


def print_bootstrap(node: str, gateway: str, admin: str) -> None:
    """Print Envoy's bootstrap as JSON.

    Raises:
        BadParameter: a name or an address is wrong.

    """
    if not node.strip():
        raise typer.BadParameter("a router's name is not empty", param_hint="--node")
    written = bootstrap(RouterNode(node), _address(gateway, "--gateway"), _address(admin, "--admin"))
    sys.stdout.write(json.dumps(written, indent=2) + "\n")


def _address(value: str, option: str) -> SocketAddress:
    try:
        return SocketAddress.model_validate(value)
    except ValidationError as error:
        raise typer.BadParameter(
            error.errors(include_url=False)[0]["msg"].removeprefix("Value error, "),
            param_hint=option,
        ) from error
