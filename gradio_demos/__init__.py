"""Pages over a running server: a tab per method of every task it announces. A client like any other."""
