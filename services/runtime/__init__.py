"""Where processes start: in one process, on Ray Serve, and the command line. The only folder that knows both edges and engines."""
