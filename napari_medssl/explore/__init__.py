"""Looking into scans through dense features: colours, likeness, regions, correspondence, search."""
