"""Tests against a real Kubernetes API server, with processes in the place of containers."""
