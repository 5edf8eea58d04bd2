"""The figures of QueueCTL, each beside a floor measured in the same run: `python -m bench --help`.

A machine is fast today and slow tomorrow, so no figure stands alone: what QueueCTL does alternates with the least
that anything could do for the same end (A B A B ...), and the ratio of the two is what counts.

To add a workload, write a module in `bench/workloads/` with `run(options, scratch) -> list[Figure]` and name it in
`bench.workloads.WORKLOADS`.
"""
