"""Where everything of a running stack is."""

from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from celadon.domain.language.contracts import DEFAULT_INSTALLATION
from celadon.owned_files import NotOursError, read_file, write_file
from celadon.stack.errors import StackError
from celadon.stack.layout import DataDirectory

NAMESPACE: Final = "default"
"""The namespace of Temporal, which its server has from the start."""


class RouterAddresses(BaseModel):
    """Where one router of several is."""

    model_config = ConfigDict(frozen=True)

    node: str
    """Its name to the gateways."""
    live: str
    preview: str
    admin: Path
    """The Unix socket of its admin interface."""
    gateway: str
    """Which gateway it asks."""


class StackAddresses(BaseModel):
    """The content of ``stack.json``. HTTP addresses are URLs, Temporal's is ``host:port``."""

    model_config = ConfigDict(frozen=True)

    database_url: str
    temporal_address: str
    temporal_ui: str
    router: str
    preview_router: str
    router_admin: Path
    """The Unix socket of Envoy's admin interface, for the owner alone."""
    gateway: str
    """Where routers of this user reach the gateway: ``unix:/path``."""
    metrics: str
    """The worker's Prometheus endpoint."""
    gateway_metrics: str
    api: str = ""
    """The API, and the console."""
    admin_token_file: Path | None = None
    """The owner's token for the API."""
    preview_key: str
    """Lets a request on the live router reach green; whoever reads it may see what is not live."""
    workers: tuple[str, ...] = ()
    """The Prometheus endpoints of all workers; those of ``metrics``, ``gateway`` and ``router`` are of the first."""
    gateways: tuple[str, ...] = ()
    routers: tuple[RouterAddresses, ...] = ()
    data_dir: Path
    pid: int
    """The process that runs the stack; end it to stop the stack."""
    children: dict[str, int] = Field(default_factory=dict)
    """Process ids of the children that run, by name."""

    @property
    def replicas(self) -> Path:
        """What the keeper keeps of the replicas it started."""
        return DataDirectory(self.data_dir).replicas

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which every command of Celadon, and ``temporal``, speaks to this stack."""
        return {
            "DATABASE_URL": self.database_url,
            "TEMPORAL_ADDRESS": self.temporal_address,
            "TEMPORAL_NAMESPACE": NAMESPACE,
            "CELADON_INSTALLATION": DEFAULT_INSTALLATION,
            "CELADON_SIGNING_KEY_FILE": str(DataDirectory(self.data_dir).signing_key),
        }

    def write(self, file: Path) -> None:
        """Write the addresses for their owner alone."""
        write_file(file, self.model_dump_json(indent=2) + "\n", mode=0o600)

    @classmethod
    def of_running(cls, data_dir: Path, *, named: bool = True) -> Self:
        """Return the addresses of the stack that runs in ``data_dir``.

        Args:
            data_dir: where it runs.
            named: whether a person has named the directory; when not, ``celadon up`` finds it by itself.

        Raises:
            StackError: none runs there, it is stopped or not ready, or the directory is not ours alone.

        """
        directory = DataDirectory.find(data_dir)
        if directory is None or not directory.is_in_use():
            start = f"celadon up --data-dir {data_dir}" if named else "celadon up"
            if directory is not None and directory.is_of_a_stack():
                raise StackError(f"the stack in {data_dir} is stopped: {start}")
            raise StackError(f"no stack runs in {data_dir.expanduser().absolute()}: start one with '{start}'")
        try:
            return cls.model_validate_json(read_file(directory.stack_file, private=True))
        except NotOursError as error:
            raise StackError(f"the data directory {directory.path} is not trusted: {error}") from error
        except (FileNotFoundError, ValidationError) as error:
            raise StackError(f"the stack in {directory.path} is not ready yet: wait until it says so") from error
