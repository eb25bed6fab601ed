"""``celadon gateway`` and ``celadon gateway bootstrap``."""

import json
import logging
from collections.abc import Sequence

import typer
from pydantic import ValidationError

from celadon.cli.ending import ExitCode
from celadon.cli.faults import CommandError
from celadon.cli.output import print_document
from celadon.domain.names import RouterNode
from celadon.gateway.addresses import SocketAddress
from celadon.gateway.bootstrap import bootstrap
from celadon.gateway.process import run_gateway
from celadon.gateway.routing import LIVE, PREVIEW
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


def print_bootstrap(
    node: str,
    gateways: Sequence[str],
    admin: str,
    listen: str | None,
    preview_listen: str | None,
) -> None:
    """Print Envoy's bootstrap as JSON.

    Raises:
        BadParameter: a name or an address is wrong.

    """
    if not node.strip():
        raise typer.BadParameter("a router's name is not empty", param_hint="--node")
    given = ((LIVE, listen, "--listen"), (PREVIEW, preview_listen, "--preview-listen"))
    listens = {name: _address(value, option) for name, value, option in given if value is not None}
    first, *others = (_address(one, "--gateway") for one in gateways)
    written = bootstrap(RouterNode(node), first, _address(admin, "--admin"), listens, others)
    print_document(json.dumps(written, indent=2) + "\n")


def _address(value: str, option: str) -> SocketAddress:
    try:
        return SocketAddress.model_validate(value)
    except ValidationError as error:
        raise typer.BadParameter(
            error.errors(include_url=False)[0]["msg"].removeprefix("Value error, "),
            param_hint=option,
        ) from error
