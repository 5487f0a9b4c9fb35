"""The exit codes of the commands."""

COMMON = {
    0: "done",
    1: "an error, printed as one message",
    2: "the command line could not be understood",
    130: "interrupted (Ctrl-C)",
}
"""Of every command that is not listed below."""

PLAN_IN_SYNC, PLAN_BROKEN, PLAN_CHANGES = 0, 1, 2
EXIT_CODES = {
    "plan": {
        PLAN_IN_SYNC: "nothing to do",
        PLAN_BROKEN: "the plan could not be made, or all that is left needs a person",
        PLAN_CHANGES: "something is to be done",
    },
    "lint": {0: "no error (with --strict: no warning either)", 1: "something must be corrected"},
    "verify": {0: "everything is as it should be", 1: "something is not"},
    "setup gcp": {0: "trainings may begin", 1: "something is missing"},
}
"""Of commands whose exit code answers a question."""
