"""The embedded set-up: a Prefect server, a local Hub and the flows, as child processes of one terminal.

`folder.py` says where everything lies under one root folder and how it is remembered there, `processes.py` starts and
ends one child, `embedded.py` puts the three together, `guard.py` sees to it that no process outlives the terminal.
"""
