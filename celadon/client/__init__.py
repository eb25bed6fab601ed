"""How doors speak to rollouts: names and messages only, never the workflow's code."""
