"""What a trained model is worth: metrics with intervals, figures, and the report."""
