"""Tests of the language and its decisions."""
