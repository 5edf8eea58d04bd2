#!/bin/sh
# Enqueue a file of jobs, wait for them, and tell which have failed.
#
#     sh job_file.sh jobs.ndjson
#
# All lines go in as one transaction, or none does: a mistake in the last one leaves the queue as it was.
set -eu

ids=$(queuectl enqueue --file "$1")

# Ids have no spaces unless you give them some. The exit code is 1 where one of them did not complete.
# shellcheck disable=SC2086
if queuectl wait --timeout 60s --brief $ids; then
    echo "all completed"
else
    echo "failed:"
    queuectl dlq list --json
fi
