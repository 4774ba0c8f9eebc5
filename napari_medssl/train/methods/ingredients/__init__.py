"""What several methods are put together from: settings, encoders and whole recipes; nothing here is a method itself."""
