"""Every side effect that a rollout asks for: idempotent, fenced by the rollout's id, one transaction each."""
