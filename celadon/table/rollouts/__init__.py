"""What rollouts and people write of deployments: sets, revisions, the switch, the audit log."""
