"""Views: what people are shown, before any door draws it."""
