"""Compare candidates over seeds: means, differences and their intervals."""
