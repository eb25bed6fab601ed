"""Tests of celadon/domain/language."""
