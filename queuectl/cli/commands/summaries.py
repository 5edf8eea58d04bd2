"""What each command is for, in a line, without the command being imported.

Generated from their help by `python -m tests.support.cli_reference`.
"""

_LINES = """\
archive: Move the history of finished jobs out of the database into a file, while workers go on.
audit: Prove that the log was not tampered with.
audit seal: Seal all events up to now, and print the anchor: SEQ:HASH.
audit verify: Look whether any event was changed, removed or put in since it was sealed, and say which.
backup: Copy the queue into one file, while workers go on.
batch: Look at what was enqueued together.
batch list: List the batches, the latest first: how many jobs each has, and how they ended.
cancel: Cancel jobs: a waiting one at once, a running one is ended and stays `processing` until it is gone.
completion: Print what makes a shell complete command lines of queuectl, names in the queue too.
config: Look at the settings and change them; a change touches later jobs only.
config get: Show the settings with their values, and where each value comes from.
config set: Change a setting for jobs to come.
config unset: Take back what `config set` has stored.
continue: Let suspended jobs go on.
dlq: Look after jobs that have failed too often.
dlq list: List the dead jobs, the latest death first.
dlq purge: Take dead jobs out of every list for good; their history stays in the log.
dlq retry: Run dead jobs again, each with its retry budget anew; attempt numbers go on.
doctor: Look the queue over, and say what is wrong and what to do about it.
edit: Change what was asked of jobs: nearly all of one that waits, a little of one that runs or has ended.
enqueue: Add a job; when it is durable, print its id.
events: Show the log of events, whole unless limited; with --follow what is new.
explain: Tell every reason why a job waits: since when, by whom, what frees it, and when.
export: Write the log, the jobs or the attempts for other programs.
graph: Show which jobs depend on which: those named, all that they depend on, and all that depend on them.
hold: Keep jobs that wait from starting, until they are released.
import: Take a queue or a log into a new database, event by event as it was; or jobs from another program.
inspect: Show everything about a job: its policy, its attempts, the end of its output.
list: List jobs: what runs, what waits in the order in which it will run, and what has ended, the latest first.
logs: Show what jobs wrote (stdout and stderr, as they came): those named, or those that run now.
monitor: Watch for dead workers and bring back their jobs, until Ctrl-C.
note: Note something of a job: a command inside of it, or with --job anybody.
outbox: Enqueue jobs within the transactions of an application that has a database of its own.
outbox schema: Print the SQL that makes the table of an outbox in an application's database.
pause: Start no more jobs, of one queue or of all; what runs goes on, unless it is suspended.
progress: Say how far a job is, from inside of it.
queue: Look at the queues, and limit what runs in each.
queue list: List the queues: what runs and waits in each, its limits, and who paused it.
queue set: Limit how many jobs of a queue run, or how often they start, over all workers together.
recover: Bring back the jobs of dead workers, once: they run again, or are called dead (--on-lost).
recover-fail: Bring back the jobs of dead workers, once: they run again, or are called dead (--on-lost).
release: Let held jobs start.
replay: Rebuild the tables from the log of events.
resource: Say how much there is of what jobs need, and look at who has it.
resource list: List the resources: how much there is of each, how much is free, and which jobs have the rest.
resource set: Say how much there is of a resource, over all workers together.
resource unset: Take back what was said of a resource: there is one of it then.
resume: Start jobs again, of one queue or of all.
retry: Run finished jobs again: the same job, with its retry budget anew; its history is kept.
run: Add a job, show its output while it runs, and exit with its exit code (128 + n for a signal).
schedule: Enqueue jobs again and again, by a cron expression or at intervals.
schedule add: Enqueue a job again and again, by a cron expression or at intervals.
schedule backfill: Enqueue the jobs of past moments that have none; print their ids.
schedule edit: Change when a schedule fires, or its jobs to come; what is not given stays.
schedule list: List the schedules: when each fires in words, what comes next, and what it has fired and skipped.
schedule next: Print the next moments of a schedule, on the clock of its time zone.
schedule pause: Have a schedule enqueue nothing until it is resumed; what has come by then is skipped.
schedule remove: Remove a schedule. The jobs that it has enqueued stay.
schedule resume: Have a paused schedule enqueue again.
schedule run: Enqueue a job of a schedule now, beside its moments; print its id.
selftest: Run 50 jobs with 5 workers in a scratch database, and judge the outcome (exit code 0 or 1).
service: Have systemd start workers at boot, and keep them up.
service install: Have systemd start workers for this queue now and at each boot, and restart them when they fail.
service status: Show how the services of this queue are: whether they are up, since when, and why not.
service uninstall: Stop the services of this queue, which takes as long as what they run, and remove their units.
simulate: Show what another retry policy would have changed.
start: Start jobs that wait next, once: past pause, hold, delay, concurrency and rate.
stats: Show how much was done, how long it waited and ran, and what failed.
status: Count the jobs by state.
stop-workers: Stop all workers, and return when they are gone.
suspend: Suspend jobs that run, until they are continued: their processes get no CPU (SIGSTOP).
top: Watch a queue on the whole terminal: what runs and what it wrote last, what waits and why, what died.
wait: Wait until jobs have ended: completed, dead or cancelled.
worker: Start, list and stop the processes that run jobs.
worker list: List the workers that are up, and what each runs.
worker start: Run jobs until told to stop, or in the background.
worker stop: Stop workers, and return when they are gone.
"""

SUMMARIES = {name: text for name, _, text in (line.partition(": ") for line in _LINES.splitlines())}
"""The line by the name of the command, or of the group of commands."""
