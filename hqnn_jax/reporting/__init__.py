"""Reports: the only place that writes a number, a figure or a page."""
