"""Tasks for tests, served where this package is one of the task packages."""
