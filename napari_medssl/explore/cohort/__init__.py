"""The same work on every scan of a cohort: spread over processes or machines, resumable, one failure never stops it."""
