"""A whole local stack, used as people use it."""
