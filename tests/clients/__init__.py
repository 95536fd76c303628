"""Clients, against real servers."""
