"""Stories on one `conceptry up`.

A package: only for one does pytest end a fixture of that scope with its last test, and else with the session.
"""
