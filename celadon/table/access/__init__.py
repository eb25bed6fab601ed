"""Who comes to the API: tokens, logins, sessions, and requests that are answered once."""
