"""Where processes start: in one process, on Ray Serve, and the command line. Only here do edges meet engines."""
