"""Tests of what every door of Celadon does: commands."""
