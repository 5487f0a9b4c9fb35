"""The Hub's protocol, one module for each group of addresses; each lists its routes in `ROUTES`."""

# Registers the convertors that the routes' patterns name.
from emulators.hub import url_patterns as url_patterns
