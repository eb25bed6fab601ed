"""``celadon gateway``: the process."""

import logging

from celadon.cli.faults import CommandError
from celadon.ending import ExitCode
from celadon.gateway.certificates import CertificateError
from celadon.gateway.process import run_gateway
from celadon.gateway.settings import GatewaySettings
from celadon.logs import log_to_stderr


async def run_gateway_process() -> ExitCode:
    """Serve routers until a signal ends it.

    Raises:
        CommandError: an address cannot be listened on, or the gateway's certificates cannot be used.
        ValidationError: a setting is missing or wrong.

    """
    log_to_stderr(logging.INFO)
    settings = GatewaySettings()
    try:
        await run_gateway(settings)
    except CertificateError as error:
        raise CommandError(f"the gateway cannot run: {error}") from error
    except OSError as error:
        raise CommandError(
            f"the gateway cannot run: {error}; end what listens there, or set CELADON_GATEWAY_ADDRESS (now "
            f"{settings.gateway_address}) and CELADON_GATEWAY_METRICS_ADDRESS (now "
            f"{settings.gateway_metrics_address or 'not set'}) to free addresses",
        ) from error
    return ExitCode.DONE
