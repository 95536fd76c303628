"""What dies, and what it costs: processes of ``chorale serve`` are killed under load, and every answer is checked.

traffic   callers that never stop, on every way in
events    what is done to the server: kills, a rolling update
run       the plan, and the table it writes
"""
