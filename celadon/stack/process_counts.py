"""How many of each process a stack has."""

from typing import Annotated, Final, Self, TypedDict, Unpack

from pydantic import BaseModel, ConfigDict, Field

MOST: Final = 9

Count = Annotated[int, Field(ge=1, le=MOST)]


class ProcessCountChoice(TypedDict, total=False):
    """What somebody says of a stack's shape; the rest stays as it is."""

    workers: int
    gateways: int
    routers: int


class ProcessCounts(BaseModel):
    """Processes of which a stack may have several; a router takes its routes from the gateways in turn."""

    model_config = ConfigDict(frozen=True)

    workers: Count = 1
    gateways: Count = 1
    routers: Annotated[int, Field(ge=0, le=MOST)] = 1

    def changed(self, **choice: Unpack[ProcessCountChoice]) -> Self:
        """Return the shape with what was chosen; raises ``ValidationError`` for more than a stack may have."""
        return self.model_validate({**self.model_dump(), **choice})


def numbered(name: str, number: int) -> str:
    """Return the name of the ``number``-th of its kind, from 1; the first one has none in its name."""
    return name if number == 1 else f"{name}-{number}"
