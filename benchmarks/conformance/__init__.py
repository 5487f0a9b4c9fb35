"""The client's own tests, from its sdist, against the local Hub: `make conformance`."""
