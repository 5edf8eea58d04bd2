"""The figures of QueueCTL, each beside a floor measured in the same run: `python -m bench --help`.

A machine is fast today and slow tomorrow, so hardly a figure stands alone: what QueueCTL does takes turns with the
least that anything could do for the same end (A B B A ...), and the ratio of the two is what counts. So do other queues
where they are installed; beside each stands what its work survives, because speed without that is another product.
What has no floor, such as how soon a job is picked up, holds for the machine that the report names.

To add a workload, write a module in `bench/workloads/` with `run(options, scratch) -> list[Figure]` and name it in
`bench.workloads.WORKLOADS`; one of PostgreSQL goes into `bench/postgres/workloads/`, and is run with `--postgres`.
`RESULTS.md` is what `python -m bench --write` made: a whole run in each `--dir`; `RESULTS-postgresql.md` is what
`python -m bench --postgres --write` did.

Drains and commits depend on the file system, and an old one is not as quick as a new one. A new one, in a file:

    truncate -s 8G disk.img && mkfs.ext4 -q disk.img && mkdir new && sudo mount -o loop disk.img new
    sudo chown "$USER" new && python -m bench --write --dir new --dir .
"""
