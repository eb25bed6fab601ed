"""The workflow of a rollout: deterministic and thin; its decisions live in ``celadon.domain``."""
