"""`python -m cli` is the command `conceptry` where no console script is installed."""

from cli import main

main()
