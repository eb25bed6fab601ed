"""The base of every model that comes from outside: frozen, strict, unknown keys refused."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A frozen value; unknown keys and lax conversions are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Record(BaseModel):
    """A frozen value that Celadon's own parts hand to one another; unknown keys are left for newer readers."""

    model_config = ConfigDict(frozen=True)
