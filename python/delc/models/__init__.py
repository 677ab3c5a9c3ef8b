"""Models: their versions by name, and their networks and parameters as relations."""
