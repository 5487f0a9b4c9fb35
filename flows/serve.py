"""`python -m flows.serve` is an earlier name of `python -m local.serve_flows`, which scripts still call."""

from local.serve_flows import main

if __name__ == "__main__":
    main()
