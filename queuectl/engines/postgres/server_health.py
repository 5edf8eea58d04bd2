"""What `doctor` asks of the server: whether it keeps what it acknowledges, and who is in the way of the queue."""

from collections.abc import Iterator

from queuectl import clock
from queuectl.engines.base import Symptom
from queuectl.engines.postgres.location import PostgresLocation
from queuectl.engines.postgres.lock_holder import lock_holder
from queuectl.engines.postgres.session import Session
from queuectl.engines.postgres.write_lock import NOW
from queuectl.units import counted, size_text, span

CLOCK = 2.0
"""Seconds between this host's clock and the server's from which they are told."""

CLOCK_WRONG = 60.0
"""Seconds between them from which one must be wrong."""

SNAPSHOT = 300.0
"""Seconds for which a transaction may be open before it is told: what it may still see is not cleaned up."""

STANDBY = 2.0
"""Seconds for which a commit may wait for a synchronous standby before that is told."""

LOCK = 5.0
"""Seconds for which another session may hold the write lock before it is told."""

DEAD = 10_000
"""Dead rows of a table from which they are told, where they are more than the living."""


def server_health(session: Session, location: PostgresLocation, key: int) -> Iterator[Symptom]:
    """What the server of this queue says; `key` is the schema's, of advisory locks. Raises psycopg's errors."""
    yield _server(session, location)
    yield from _durability(session)
    yield from _standbys(session)
    yield from _clock(session)
    yield from _rights(session, location)
    yield from _snapshots(session)
    yield from _lock(session, key)
    yield from _dead_rows(session, location)


def _server(session: Session, location: PostgresLocation) -> Symptom:
    [(version, is_replica)] = session.execute("select current_setting('server_version'), pg_is_in_recovery()")
    sizes: dict[str, int] = dict(
        session.execute(
            """
            select relname, pg_total_relation_size(c.oid)::bigint from pg_class c
            join pg_namespace n on n.oid = relnamespace where nspname = ? and relkind = 'r' order by 2 desc, 1
            """,
            (location.schema,),
        )
    )
    largest = ", ".join(f"{name} {size_text(size)}" for name, size in [*sizes.items()][:3])
    what = f"PostgreSQL {version}, {size_text(sum(sizes.values()))} in the schema {location.schema}: {largest}"
    what += "; a replica, which takes nothing in" if is_replica else ""
    what += "; behind PgBouncer, so that whoever waits looks once a second" if session.pooled else ""
    facts = {"version": version, "replica": is_replica, "pooled": session.pooled, "tables": sizes}
    return Symptom("ok", what, facts=facts)


def _durability(session: Session) -> Iterator[Symptom]:
    [(fsync, pages, commit, standbys)] = session.execute(
        """
        select current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
            current_setting('synchronous_standby_names')
        """
    )
    if fsync == "off":
        yield Symptom(
            "warning", "fsync is off: a crash of the server's machine may damage or lose everything",
            "set fsync = on in postgresql.conf",
        )  # fmt: skip
    if pages == "off":
        yield Symptom(
            "warning", "full_page_writes is off: a crash of the server's machine may damage tables",
            "set full_page_writes = on, unless the file system writes whole pages (ZFS)",
        )  # fmt: skip
    if commit == "off" or (standbys and commit in ("local", "remote_write")):
        lost = "a crash" if commit == "off" else "a failover"
        yield Symptom(
            "warning", f"synchronous_commit is {commit}: {lost} may lose jobs that were acknowledged",
            "set synchronous_commit = on for this role: alter role … set synchronous_commit = on",
            {"synchronous_commit": commit},
        )  # fmt: skip


def _standbys(session: Session) -> Iterator[Symptom]:
    [(waiting, longest, names)] = session.execute(
        """
        select count(*), coalesce(extract(epoch from clock_timestamp() - min(query_start)), 0)::float8,
            current_setting('synchronous_standby_names')
        from pg_stat_activity where wait_event = 'SyncRep'
        """
    )
    if longest >= STANDBY:
        yield Symptom(
            "problem",
            f"nothing that is written is acknowledged: {counted(waiting, 'session waits', 'sessions wait')}, for up to"
            f" {span(longest)}, for a synchronous standby ({names})",
            "start the standbys; or go on without, and risk what another failover loses: alter system set"
            " synchronous_standby_names = ''; select pg_reload_conf()",
            {"sessions": waiting, "seconds": round(longest, 3), "standbys": names},
        )


def _clock(session: Session) -> Iterator[Symptom]:
    before = clock.now()
    [(server,)] = session.execute(f"select {NOW}")
    after = clock.now()
    # The server has looked somewhere between the two, so no more than this is certain.
    apart = max(before - server, server - after, 0) / clock.SECOND
    if apart < CLOCK:
        return
    side = "ahead of" if before > server else "behind"
    yield Symptom(
        "problem" if apart >= CLOCK_WRONG else "warning",
        f"this host's clock is {span(apart)} {side} the server's, by which all times of the queue are",
        "have both keep time by NTP (timedatectl set-ntp true)",
        {"seconds": round(apart, 3)},
    )


def _rights(session: Session, location: PostgresLocation) -> Iterator[Symptom]:
    lacking = [
        name
        for (name,) in session.execute(
            """
            select relname from pg_class c join pg_namespace n on n.oid = relnamespace
            where nspname = ? and relkind = 'r' and not (
                has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
                and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete')
            ) order by 1
            """,
            (location.schema,),
        )
    ]
    if lacking:
        [(role,)] = session.execute("select current_user::text")
        yield Symptom(
            "warning",
            f"the role {role} may not write {counted(len(lacking), 'table')}: it can ask, and change nothing",
            "to let it write: grant select, insert, update, delete on all tables"
            f" in schema {location.schema} to {role}",
            {"role": role, "lacking": lacking},
        )


def _snapshots(session: Session) -> Iterator[Symptom]:
    for pid, role, program, age in session.execute(
        """
        select pid, usename::text, application_name, extract(epoch from clock_timestamp() - xact_start)::float8
        from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
            and extract(epoch from clock_timestamp() - xact_start) >= ? order by xact_start
        """,
        (SNAPSHOT,),
    ):
        yield Symptom(
            "warning",
            f"session {pid} ({role}, {program or 'no name'}) has had a transaction open for {span(age)}: what"
            " the queue has left behind since can't be cleaned up, and it gets slower",
            f"end that program, or its session: select pg_terminate_backend({pid})",
            {"pid": pid, "seconds": round(age, 3)},
        )


def _lock(session: Session, key: int) -> Iterator[Symptom]:
    holder = lock_holder(session, key)
    if holder is None or holder.seconds is None or holder.seconds < LOCK:
        return
    yield Symptom(
        "problem",
        f"nobody else can write: the write lock has {holder}",
        f"wait where it enqueues or rebuilds much; else end it: select pg_terminate_backend({holder.pid})",
        {"pid": holder.pid, "seconds": round(holder.seconds, 3)},
    )


def _dead_rows(session: Session, location: PostgresLocation) -> Iterator[Symptom]:
    for name, dead, live in session.execute(
        """
        select relname::text, n_dead_tup, n_live_tup from pg_stat_user_tables
        where schemaname = ? and n_dead_tup > greatest(n_live_tup, ?) order by n_dead_tup desc
        """,
        (location.schema, DEAD),
    ):
        yield Symptom(
            "warning",
            f"the table {name} has {counted(dead, 'dead row')} beside {live:,}: autovacuum does not keep up",
            f"vacuum {location.schema}.{name}; see that autovacuum is on, and that no transaction is open for long",
            {"table": name, "dead": dead, "live": live},
        )
