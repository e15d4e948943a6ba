"""What a trained model is worth: metrics with intervals, comparisons, explanations."""
