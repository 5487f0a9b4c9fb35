"""`python -m flows.cli` is the command `conceptry` where no console script is installed."""

from flows.cli import main

main()
