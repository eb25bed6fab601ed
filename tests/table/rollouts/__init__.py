"""Tests of celadon/table/rollouts."""
