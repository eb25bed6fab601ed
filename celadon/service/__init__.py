"""What callers may ask for, the same at every door: one module a command."""
