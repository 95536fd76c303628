"""One folder per task. Each exports ``TASK``; nothing else in the project names a task."""
