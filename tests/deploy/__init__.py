"""What stands in deploy/: well-formed, consistent, and really started, with this machine in the place of containers."""
