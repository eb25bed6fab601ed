"""Tests of celadon/table/notifications."""
