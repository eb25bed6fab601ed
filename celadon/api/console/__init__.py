"""The console: pages rendered by the server, which look again when something has changed."""
