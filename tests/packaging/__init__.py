"""Celadon as people get it: sdist, wheel, extras and locks."""
