-- The log and what lies beside it, in schema version 1 (pragma user_version). Projections make their own tables.

create table events (
    seq integer primary key autoincrement,
    stream text not null,
    version integer not null,
    type text not null,
    v integer not null,
    at integer not null,
    actor text not null,
    data text not null
);

create unique index events_of_stream on events (stream, version);

-- The log is append-only, for every program that opens the file: no update, no delete, and no insert over a row that
-- exists (`insert or replace` deletes without the delete trigger where recursive_triggers is off).

create trigger events_no_update before update on events
begin
    select raise(abort, 'the event log is append-only');
end;

create trigger events_no_delete before delete on events
begin
    select raise(abort, 'the event log is append-only');
end;

create trigger events_no_overwrite before insert on events
when exists (select 1 from events where seq = new.seq)
    or exists (select 1 from events where stream = new.stream and version = new.version)
begin
    select raise(abort, 'the stream has moved on');
end;

-- Where each projection stands. `source` is the import path of a user's own; `broken` is why it was set aside.

create table projection_state (
    name text primary key,
    version integer not null,
    seq integer not null,
    tables text not null,
    source text,
    broken text
);

-- The values of --env variables: read by workers alone, left alone by replay, never exported.

create table secrets (
    job text not null,
    name text not null,
    value text not null,
    primary key (job, name)
) without rowid;
