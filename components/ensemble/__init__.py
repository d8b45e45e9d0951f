"""Average the models' probabilities, evaluate, and predict the test images."""
