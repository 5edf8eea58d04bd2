-- The figures of `queuectl stats`, as docs/reference/stats.md defines them word for word: change both.
-- $after and $upto are the events before and at the end of the period, $queue a queue or null, $limit a number of rows.

-- totals
select
    count(*) filter (where type = 'enqueued') as enqueued,
    count(*) filter (where type = 'claimed') - count(*) filter (where type = 'released') as attempts,
    count(*) filter (where type = 'completed') as completed,
    count(*) filter (where type = 'failed') as failed,
    count(*) filter (where type = 'retried') as retried,
    count(*) filter (where type = 'interrupted') as interrupted,
    count(*) filter (where type = 'dead') as dead,
    count(*) filter (where type = 'cancelled') as cancelled,
    min(events.at) as first_at,
    max(events.at) as last_at
from events
where seq > $after and seq <= $upto
  and type in ('enqueued', 'claimed', 'released', 'interrupted', 'completed', 'failed', 'retried', 'dead', 'cancelled')
  and (cast($queue as text) is null or stream in (
        select stream from events where type = 'enqueued' and coalesce(data ->> 'queue', 'default') = $queue));

-- per_hour
select
    events.at - events.at % 3600000000 as hour,
    count(*) filter (where type = 'enqueued') as enqueued,
    count(*) filter (where type = 'completed') as completed
from events
where seq > $after and seq <= $upto and type in ('enqueued', 'completed')
  and (cast($queue as text) is null or stream in (
        select stream from events where type = 'enqueued' and coalesce(data ->> 'queue', 'default') = $queue))
group by 1
order by 1;

-- per_day
select
    events.at - events.at % 86400000000 as day,
    count(*) filter (where type = 'enqueued') as enqueued,
    count(*) filter (where type = 'completed') as completed
from events
where seq > $after and seq <= $upto and type in ('enqueued', 'completed')
  and (cast($queue as text) is null or stream in (
        select stream from events where type = 'enqueued' and coalesce(data ->> 'queue', 'default') = $queue))
group by 1
order by 1;

-- busiest_hours
select
    cast((events.at % 86400000000 - events.at % 3600000000) / 3600000000 as integer) as hour_of_day,
    count(*) filter (where type = 'enqueued') as enqueued,
    count(*) filter (where type = 'completed') as completed
from events
where seq > $after and seq <= $upto and type in ('enqueued', 'completed')
  and (cast($queue as text) is null or stream in (
        select stream from events where type = 'enqueued' and coalesce(data ->> 'queue', 'default') = $queue))
group by 1
order by completed desc, enqueued desc, hour_of_day;

-- waiting
with waits as (
    select
        coalesce(job.data ->> 'queue', 'default') as queue,
        (claim.at - max(due.at, coalesce(unixepoch(substr(due.data ->> 'run_at', 1, 19)) * 1000000
                                         + cast(substr(due.data ->> 'run_at', 21, 6) as bigint), 0))) / 1e6 as seconds
    from events claim
    join events job on job.stream = claim.stream and job.version = 1
    join events due on due.stream = claim.stream and due.version = (
        select max(version) from events earlier
        where earlier.stream = claim.stream and earlier.version < claim.version
          and (earlier.data ->> 'run_at' is not null or earlier.type = 'interrupted'))
    where claim.seq > $after and claim.seq <= $upto and claim.type = 'claimed'
      and (cast($queue as text) is null or coalesce(job.data ->> 'queue', 'default') = $queue)
      and not exists (
        select 1 from events back
        where back.stream = claim.stream and back.version in (claim.version + 1, claim.version + 2)
          and back.type = 'released')
),
ranked as (
    select
        queue,
        seconds,
        row_number() over (partition by queue order by seconds) as place,
        count(*) over (partition by queue) as claims
    from waits
)
select
    queue,
    claims,
    round(avg(seconds), 6) as mean,
    min(seconds) filter (where 100 * place >= 50 * claims) as p50,
    min(seconds) filter (where 100 * place >= 95 * claims) as p95,
    min(seconds) filter (where 100 * place >= 99 * claims) as p99,
    max(seconds) as longest
from ranked
group by queue, claims
order by queue;

-- queues
with outcomes as (
    select
        coalesce(job.data ->> 'queue', 'default') as queue,
        outcome.type,
        cast(outcome.data ->> 'run_seconds' as double precision) as seconds
    from events outcome
    join events job on job.stream = outcome.stream and job.version = 1
    where outcome.seq > $after and outcome.seq <= $upto and outcome.type in ('completed', 'failed', 'retried', 'dead')
      and (cast($queue as text) is null or coalesce(job.data ->> 'queue', 'default') = $queue)
),
ranked as (
    select
        queue,
        type,
        seconds,
        row_number() over (partition by queue, seconds is null order by seconds) as place,
        count(seconds) over (partition by queue) as runs
    from outcomes
)
select
    queue,
    count(*) filter (where type = 'completed') as completed,
    count(*) filter (where type = 'failed') as failed,
    count(*) filter (where type = 'retried') as retried,
    count(*) filter (where type = 'dead') as dead,
    round(1.0 * count(*) filter (where type = 'failed')
        / nullif(count(*) filter (where type in ('completed', 'failed')), 0), 6) as failure_rate,
    round(1.0 * count(*) filter (where type = 'retried')
        / nullif(count(*) filter (where type in ('completed', 'failed')), 0), 6) as retry_rate,
    round(sum(seconds), 6) as run_seconds,
    min(seconds) filter (where 100 * place >= 50 * runs) as p50,
    min(seconds) filter (where 100 * place >= 95 * runs) as p95,
    min(seconds) filter (where 100 * place >= 99 * runs) as p99,
    max(seconds) as longest
from ranked
group by queue
order by queue;

-- commands
with outcomes as (
    select
        coalesce(job.data ->> 'command', job.data ->> 'argv') as command,
        outcome.type,
        cast(outcome.data ->> 'run_seconds' as double precision) as seconds
    from events outcome
    join events job on job.stream = outcome.stream and job.version = 1
    where outcome.seq > $after and outcome.seq <= $upto and outcome.type in ('completed', 'failed', 'retried', 'dead')
      and (cast($queue as text) is null or coalesce(job.data ->> 'queue', 'default') = $queue)
),
ranked as (
    select
        command,
        type,
        seconds,
        row_number() over (partition by command, seconds is null order by seconds) as place,
        count(seconds) over (partition by command) as runs
    from outcomes
),
commands as (
    select
        command,
        count(*) filter (where type = 'completed') as completed,
        count(*) filter (where type = 'failed') as failed,
        count(*) filter (where type = 'retried') as retried,
        count(*) filter (where type = 'dead') as dead,
        round(1.0 * count(*) filter (where type = 'failed')
            / nullif(count(*) filter (where type in ('completed', 'failed')), 0), 6) as failure_rate,
        round(1.0 * count(*) filter (where type = 'retried')
            / nullif(count(*) filter (where type in ('completed', 'failed')), 0), 6) as retry_rate,
        round(sum(seconds), 6) as run_seconds,
        min(seconds) filter (where 100 * place >= 50 * runs) as p50,
        min(seconds) filter (where 100 * place >= 95 * runs) as p95,
        min(seconds) filter (where 100 * place >= 99 * runs) as p99,
        max(seconds) as longest
    from ranked
    group by command
),
placed as (
    select
        *,
        row_number() over (order by completed + failed desc, command) as most_run,
        row_number() over (order by p50 is null, p50 desc, command) as slowest,
        row_number() over (
            order by completed > 0 and failed > 0 desc, 1.0 * failed / (completed + failed + 10) desc, command
        ) as flakiest
    from commands
)
select * from placed
where most_run <= $limit or slowest <= $limit or flakiest <= $limit
order by most_run;

-- archived
select
    count(*) as jobs,
    coalesce(sum(cast(data ->> 'events' as bigint)), 0) as events
from events
where type = 'archived' and stream like 'job:%' and seq <= $upto
  and (cast($queue as text) is null or coalesce(data ->> 'queue', 'default') = $queue);
