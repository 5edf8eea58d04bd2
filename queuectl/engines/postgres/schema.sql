-- The log and what lies beside it, in schema version 1 (`about.schema_version`). Projections make their own tables.
-- The statements run in the queue's schema, in one transaction.

create table about (
    application text collate "C" not null,
    schema_version bigint not null,
    mark text collate "C" not null
);

-- The head of the log. `folding` names the projections, as `name:version`, that have folded everything up to `seq`.

create table log (
    seq bigint not null,
    at bigint not null,
    folding text collate "C" not null
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0.01);

create table events (
    seq bigint primary key,
    stream text collate "C" not null,
    version bigint not null,
    type text collate "C" not null,
    v bigint not null,
    at bigint not null,
    actor text collate "C" not null,
    data json not null
);

create unique index events_of_stream on events (stream, version);
create index events_archived on events (seq) where type = 'archived';
create index events_tombstones on events (stream) where type = 'archived';

-- The leaf of every event that was sealed: what proves that it is what it was. Leaves stay when events are archived.

create table leaves (
    seq bigint primary key,
    at bigint not null,
    hash bytea not null
);

-- The log is append-only: no update, no truncate; no delete
-- but of an event that has its leaf, in a stream that ends with the tombstone which says where its events went.

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the event log is append-only';
end
$$;

create function refuse_delete() returns trigger language plpgsql as $$
begin
    if old.type = 'archived'
        or not exists (select 1 from leaves where seq = old.seq)
        or (select type from events where stream = old.stream order by version desc limit 1) <> 'archived'
    then
        raise exception 'the event log is append-only';
    end if;
    return old;
end
$$;

-- A stream of which events were archived goes on after its tombstone only, though the places before it are free.

create function refuse_moved_on() returns bigint language plpgsql as $$
begin
    raise exception 'the stream has moved on' using errcode = 'unique_violation', table = 'events';
end
$$;

create trigger events_no_update before update or truncate on events
    for each statement execute function refuse_change();
create trigger events_no_delete before delete on events for each row execute function refuse_delete();
create trigger leaves_no_change before update or delete or truncate on leaves
    for each statement execute function refuse_change();

-- Where each projection stands that is not named by `log.folding`. `source` is the import path of a user's own;
-- `broken` is why it was set aside.

create table projection_state (
    name text collate "C" primary key,
    version bigint not null,
    seq bigint not null,
    tables text collate "C" not null,
    source text collate "C",
    broken text collate "C"
);

-- The values given with --secret: read by workers alone, left alone by replay, never exported.

create table secrets (
    job text collate "C" not null,
    name text collate "C" not null,
    value text collate "C" not null,
    primary key (job, name)
);

-- What every host can read of files that lie on one: the beginning and the end of each output, there before the end of
-- the attempt is in the log (`source` 1: of the file for stderr), and what `--stdin` copied.

create table outputs (
    job text collate "C" not null,
    lease bigint not null,
    source bigint not null,
    size bigint not null,
    head bytea not null,
    tail bytea not null,
    primary key (job, lease, source)
);

create table inputs (
    name text collate "C" primary key,
    data bytea not null
);
alter table inputs alter data set storage external;

-- What readers ask of outputs that lie on other hosts, a row for each reader, and the answer. Gone after a crash, as the
-- reader is that waits for it.

create unlogged table output_requests (
    id text collate "C" primary key,
    identity text collate "C" not null,
    job text collate "C" not null,
    lease bigint not null,
    source bigint not null,
    start bigint not null,
    number bigint not null,
    until timestamptz not null,
    answered bigint not null default 0,
    size bigint,
    data_begin bigint,
    data_end bigint,
    data bytea
) with (autovacuum_vacuum_scale_factor = 0.01);
alter table output_requests alter data set storage external;

-- Functions that the figures of `queuectl stats` call, as SQLite has them.

create function unixepoch(moment text) returns bigint immutable strict language sql as $$
    select extract(epoch from moment::timestamp)::bigint
$$;

create function round(number double precision, digits integer) returns double precision
    immutable strict language sql as $$ select round(number::numeric, digits)::double precision $$;

create function max(one bigint, other bigint) returns bigint immutable strict language sql as $$
    select greatest(one, other)
$$;
