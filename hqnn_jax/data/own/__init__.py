"""Images of the user's own: a module for each kind of place they come from."""
