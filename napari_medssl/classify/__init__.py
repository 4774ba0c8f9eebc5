"""Which class a slice or an examination belongs to, and where in it the evidence lies."""
