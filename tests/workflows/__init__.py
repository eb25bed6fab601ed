"""Rollouts on a real Temporal server whose time is skipped."""
