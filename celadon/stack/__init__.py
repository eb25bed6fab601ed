"""Celadon with all its parts on one machine."""
