"""Embedded set-up: a Prefect server, a local Hub and the flows as child processes of one terminal.

`setup_folder` defines the layout of the root folder and its settings file, `child_process` starts and stops one child,
`servers` the servers together, `process_guard` ensures that no process outlives the terminal.
"""
