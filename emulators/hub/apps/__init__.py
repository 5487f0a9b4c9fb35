"""Running what people push: Spaces, and the handlers of Inference Endpoints, as processes of this machine.

    board     what servers and the keeper tell each other through files: requests, and each app's status
    wishes    what should run, read from the repos and the endpoints
    build     a revision's files in a folder, and a Python environment that meets its requirements
    box       a program: runs one command within limits, keeps its log, ends it when the hub goes
    gate      the address of an app: lets in whom the hub lets in, wakes what sleeps
    keeper    one for each root, elected by a lock: makes what runs be what should run
    toolkit   a program: serves a handler.py behind the contract of Inference Endpoints

What is pushed runs with the rights of the user who started the hub, on this machine, without a container: the limits
keep an accident small, they hold no attacker.
"""
