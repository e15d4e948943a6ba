"""Models: a backbone, a middle (a circuit or its control) and a head, as a pure function."""
