"""The decisions of Celadon: pure functions of values."""
