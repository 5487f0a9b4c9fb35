"""Pages for people, without script: repos and their files (`browse`), two revisions compared (`comparison`)."""
