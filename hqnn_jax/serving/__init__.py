"""A trained model as a web page and a JSON endpoint on one's own machine."""
