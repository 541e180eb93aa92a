"""The cost of a correction on utility benchmarks, scored by the published rule of each."""
