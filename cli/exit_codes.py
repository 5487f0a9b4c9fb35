"""Exit codes of the commands."""

COMMON = {
    0: "done",
    1: "an error, printed as one message",
    2: "the command line is invalid",
    130: "interrupted (Ctrl-C)",
}
"""Exit codes of every command that EXIT_CODES does not list."""

PLAN_IN_SYNC, PLAN_BROKEN, PLAN_CHANGES = 0, 1, 2
DEPLOY_DONE, DEPLOY_CHANGES = 0, 2
EXIT_CODES = {
    "deploy": {
        DEPLOY_DONE: "deployed; with --dry-run: nothing would change",
        1: "nothing was deployed, or not everything",
        DEPLOY_CHANGES: "with --dry-run: something would change",
    },
    "plan": {
        PLAN_IN_SYNC: "nothing to do",
        PLAN_BROKEN: "the plan could not be made, it does not take the runs on the Prefect server into account, or a "
        "concept needs a user's action and nothing else is to be done",
        PLAN_CHANGES: "there are changes to make",
    },
    "lint": {0: "no error (with --strict: no warning either)", 1: "there are errors to correct"},
    "verify": {0: "all checks passed", 1: "a check failed"},
    "doctor": {0: "all checks passed", 1: "a check failed"},
    "worker": {0: "with --check: all checks passed", 1: "settings are wrong, or with --check a check failed"},
    "setup gcp": {0: "ready for trainings", 1: "a requirement is missing"},
}
"""Exit codes of commands whose exit code is a result."""
