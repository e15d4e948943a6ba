"""The configurations that are shipped, a YAML file each."""
