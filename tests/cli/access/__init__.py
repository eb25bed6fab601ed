"""Tests of celadon.cli.access."""
