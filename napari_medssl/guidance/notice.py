"""What must stand beside every piece of advice."""

NOTICE = (
    "For research only, not for diagnosis. The advice is what four documents say, weighed by us: measure on your own "
    "data before you rely on it."
)
