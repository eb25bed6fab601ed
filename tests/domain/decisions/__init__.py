"""Tests of celadon/domain/decisions."""
