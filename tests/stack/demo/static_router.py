"""A real Envoy with one listener and one cluster, both written into its bootstrap."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from celadon.stack.programs import envoy_program
from celadon.stack.router import ADMIN_URL

LISTENER = "live"
CLUSTER = "chat"
TYPES = "type.googleapis.com/envoy.extensions"
RETRIES = {"retry_on": "connect-failure,refused-stream", "num_retries": 2}
START_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class StaticRouter:
    """Where a running Envoy listens."""

    address: str
    admin: Path

    @property
    def base_url(self) -> str:
        """Return the address as an OpenAI client takes it."""
        return f"http://{self.address}/v1"


@asynccontextmanager
async def running_router(folder: Path, upstreams: Sequence[int]) -> AsyncIterator[StaticRouter]:
    """Run an Envoy that sends everything to the loopback ports ``upstreams``; it chooses its own port."""
    with tempfile.TemporaryDirectory(prefix="celadon-admin-") as sockets:
        admin = Path(sockets) / "admin.sock"
        bootstrap = folder / "envoy.json"
        bootstrap.write_text(json.dumps(_bootstrap(upstreams, admin)))
        with (folder / "envoy.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                str(envoy_program()),
                *("-c", str(bootstrap)),
                *("--concurrency", "1", "--disable-hot-restart", "-l", "warning", "--base-id", "0"),
                stdout=log,
                stderr=log,
            )
        try:
            async with (
                asyncio.timeout(START_TIMEOUT_SECONDS),
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(admin))) as session,
            ):
                while not (address := await _listener_address(session)):
                    if process.returncode is not None:
                        raise RuntimeError((folder / "envoy.log").read_text())
                    await asyncio.sleep(0.02)
            yield StaticRouter(address=address, admin=admin)
        finally:
            process.terminate()
            await process.wait()


async def _listener_address(session: aiohttp.ClientSession) -> str | None:
    try:
        async with session.get(f"{ADMIN_URL}/listeners?format=json") as response:
            listeners = (await response.json()).get("listener_statuses", [])
    except aiohttp.ClientConnectionError:
        return None
    for listener in listeners:
        socket = listener["local_address"]["socket_address"]
        return f"{socket['address']}:{socket['port_value']}"
    return None


def _bootstrap(upstreams: Sequence[int], admin: Path) -> dict[str, object]:
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": LISTENER,
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"},
            },
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": CLUSTER,
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {"cluster": CLUSTER, "timeout": "0s", "retry_policy": RETRIES},
                        }
                    ],
                },
            ],
        },
    }
    endpoints = [{"endpoint": {"address": _address(port)}} for port in upstreams]
    return {
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "static_resources": {
            "listeners": [
                {
                    "name": LISTENER,
                    "address": _address(0),
                    "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
                },
            ],
            "clusters": [
                {
                    "name": CLUSTER,
                    "connect_timeout": "1s",
                    "load_assignment": {"cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": endpoints}]},
                },
            ],
        },
    }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
