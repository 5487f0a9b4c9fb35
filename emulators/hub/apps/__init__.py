"""Pushed code as processes of this machine: Spaces, and the handlers of Inference Endpoints.

    control_dir       state that servers and the supervisor exchange through files: requests, and each app's status
    desired_state     what should run, computed from the repos and the endpoints
    supervisor        one for each root, elected by a lock: reconciles the running apps with their desired state
    hosted_app        one app's life: build, start, sleep, wake
    app_build         a checkout of a revision, and a Python environment that meets its requirements
    sandbox           starts a command within limits; sandbox_program is the process between the Hub and the command
    reverse_proxy     an app's stable address: authenticates requests, wakes the app, passes bytes through
    toolkit           a program: serves a handler.py behind the contract of Inference Endpoints

Pushed code runs with the rights of the user who started the Hub, on this machine, without a container. The limits
contain accidents; they do not contain an attacker.
"""
