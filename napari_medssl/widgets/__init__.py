"""The napari side: layers, forms, workers and the dock widgets. The only folder that knows napari and Qt."""
