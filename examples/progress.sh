#!/bin/sh
# A job that tells how far it is, and leaves a note of what it found.
# queuectl enqueue 'sh progress.sh photos/*.jpg'; queuectl list
set -eu

done=0
for file in "$@"; do
    echo "$((100 * done / $#)) $file" >"$QUEUECTL_PROGRESS"
    gzip -k "$file"
    done=$((done + 1))
done
echo 100 >"$QUEUECTL_PROGRESS"
queuectl note "$# files compressed"
