"""Pages over a running server: a tab for every task it announces. A client like any other."""
