"""``celadon doctor``: is everything there, is somebody at work, is anything left lying; one module a subject."""
