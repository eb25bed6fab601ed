"""Blue-green rollouts of model-serving deployments, each one a durable Temporal workflow."""
