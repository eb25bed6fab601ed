"""What the keeper writes: replicas, its lease, the signals that it owes, rollouts left behind."""
