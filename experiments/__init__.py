"""One module per paper: which runs make its tables and figures, and what was published."""
