"""Data sets and their versions: taking rows from the user's tables, splitting them, and reading a version again."""
