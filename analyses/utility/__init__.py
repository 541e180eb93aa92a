"""What a correction costs: answers to utility benchmarks, scored by the rules that each benchmark publishes."""
