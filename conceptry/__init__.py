"""Pure core of the project: spec, version, fingerprints and plan. No I/O."""
