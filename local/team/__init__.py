"""A team's set-up on one machine: PostgreSQL, Prefect, Hub, TLS in front, and two workers; docs/team.md."""
