"""The process that carries rollouts out: a Temporal worker and the keeper of replicas."""
