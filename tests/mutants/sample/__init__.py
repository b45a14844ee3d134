"""A module and its tests, on which the runner of mutants is tested."""
