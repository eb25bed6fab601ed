"""How commands reach a Celadon: through its API, or directly by its Postgres and its Temporal."""
