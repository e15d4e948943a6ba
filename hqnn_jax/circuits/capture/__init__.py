"""From a PennyLane quantum function to gates and the function that gives their angles."""
