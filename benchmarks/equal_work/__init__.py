"""The parts of `benchmarks/equal_work.py`: the workload, Spezia's side, the peers, and what is made of times."""
