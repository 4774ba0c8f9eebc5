"""Dense features: a grid of feature vectors in the physical space of a scan, how it is made and kept."""
