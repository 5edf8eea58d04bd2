-- The log and what lies beside it, in schema version 2 (pragma user_version). Projections make their own tables.
--
-- An older database is brought here by dropping its triggers and running all of this: what exists is left as it is.

create table if not exists events (
    seq integer primary key autoincrement,
    stream text not null,
    version integer not null,
    type text not null,
    v integer not null,
    at integer not null,
    actor text not null,
    data text not null
);

create unique index if not exists events_of_stream on events (stream, version);
create index if not exists events_archived on events (type) where type = 'archived';

-- The leaf of every event that was sealed: what proves that it is what it was. Leaves stay when events are archived.

create table if not exists leaves (
    seq integer primary key,
    at integer not null,
    hash blob not null
);

-- The log is append-only, for every program that opens the file: no update; no insert but at the head of the log and of
-- its stream (`insert or replace` deletes without the delete trigger where recursive_triggers is off); and no delete but
-- of an event that has its leaf, in a stream that ends with the tombstone which says where its events went. Before an
-- insert that leaves the number to SQLite, it reads as -1.

create trigger events_no_update before update on events
begin
    select raise(abort, 'the event log is append-only');
end;

create trigger events_no_delete before delete on events
when old.type = 'archived'
    or not exists (select 1 from leaves where seq = old.seq)
    or (select type from events where stream = old.stream order by version desc limit 1) <> 'archived'
begin
    select raise(abort, 'the event log is append-only');
end;

create trigger events_no_overwrite before insert on events
when (new.seq <> -1 and new.seq <= (select max(seq) from events))
    or exists (select 1 from events where stream = new.stream and version >= new.version)
begin
    select raise(abort, 'the stream has moved on');
end;

create trigger leaves_no_update before update on leaves
begin
    select raise(abort, 'leaves stay as they are');
end;

create trigger leaves_no_delete before delete on leaves
begin
    select raise(abort, 'leaves stay as they are');
end;

create trigger leaves_no_overwrite before insert on leaves
when exists (select 1 from leaves where seq = new.seq)
begin
    select raise(abort, 'leaves stay as they are');
end;

-- Where each projection stands. `source` is the import path of a user's own; `broken` is why it was set aside.

create table if not exists projection_state (
    name text primary key,
    version integer not null,
    seq integer not null,
    tables text not null,
    source text,
    broken text
);

-- The values given with --secret: read by workers alone, left alone by replay, never exported.

create table if not exists secrets (
    job text not null,
    name text not null,
    value text not null,
    primary key (job, name)
) without rowid;
