"""Overload: three times the requests the server can answer, on a timetable that waits for no answer.

run         the plan: one server, the peak, then rates above it; and what is written
client      the client, a process of its own: keeps a number in flight, or follows a timetable
calls       what the client knows of a call: when it was due, when it ended, and how
rest_calls  calls over HTTP/1.1 connections; grpc_calls: over one HTTP/2 connection
report      JSON and Markdown
"""
