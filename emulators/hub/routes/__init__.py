"""The Hub's protocol, one module for each group of URLs; each lists its routes in `ROUTES`.

A handler raises HubError for every error answer: for a wrong request, and for what the sender may not see or change.
"""

# Registers the convertors that the routes' patterns name.
from emulators.hub import url_patterns as url_patterns
