"""Sabotage: each rule that Celadon keeps is broken by a few lines in a copy, and a named test must turn red."""
