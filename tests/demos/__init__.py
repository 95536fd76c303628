"""The demo site, in a real browser where there is one."""
