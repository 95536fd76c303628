"""Load tests: locust users made from Task records, mixed by a profile, held to its service levels."""
