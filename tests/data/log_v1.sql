-- A log as the first version of every event wrote it, made by hand: one event of every type and more. Never change what
-- stands here: old databases have it. Payloads are spaced unevenly and hold fields that nobody knows (`_note`), because
-- stored text is shown as it is.

insert into events (seq, stream, version, type, v, at, actor, data) values
(1, 'config', 1, 'config_set', 1, 1700000000000001, 'cli:ann@old', '{"key": "max-retries", "value": "1", "reason": "trial"}'),
(2, 'worker:w1', 1, 'worker_started', 1, 1700000000000002, 'worker:w1', '{"host":"old","pid":71,"slots":2,"queues":["default","mail"],"boot_id":"b","pid_namespace":"4026531836","machine_id":"m","identity":"0123456789abcdef"}'),
(3, 'worker:w2', 1, 'worker_started', 1, 1700000000000003, 'worker:w2', '{"host":"old","pid":72,"slots":1}'),
(4, 'job:1', 1, 'enqueued', 1, 1700000000000004, 'cli:ann@old', '{"command":"true","run_at":"2023-11-14T22:13:20.000004Z","cwd":"/home/ann","env":{"PATH":"/bin"},"timeout":60.0,"max_retries":1,"backoff_base":2.0,"backoff_max":86400.0, "_note": "kept"}'),
(5, 'job:bad', 1, 'enqueued', 1, 1700000000000005, 'cli:ann@old', '{"argv":["sh","-c","exit 3"],"queue":"mail","priority":7,"run_at":"2023-11-14T22:13:20.000005Z","cwd":"/","secrets":["TOKEN"],"stdin":"ab12","max_retries":1,"backoff_base":2.0,"backoff_max":86400.0,"jitter":0.5,"on_lost":"dead","keep_children":true,"reason":"why not"}'),
(6, 'job:gone', 1, 'enqueued', 1, 1700000000000006, 'library:bob@old', '{"command":"sleep 9","run_at":"2023-11-14T22:13:20.000006Z","cwd":"/","max_retries":0,"backoff_base":1,"backoff_max":5}'),
(7, 'job:1', 2, 'claimed', 1, 1700000000000007, 'worker:w1', '{"attempt":1,"worker":"w1"}'),
(8, 'job:bad', 2, 'claimed', 1, 1700000000000007, 'worker:w1', '{"attempt":1,"worker":"w1"}'),
(9, 'worker:w1', 2, 'heartbeat', 1, 1700000005000000, 'worker:w1', '{"attempts":[{"job":"1","attempt":1},{"job":"bad","attempt":1}]}'),
(10, 'job:1', 3, 'completed', 1, 1700000006000000, 'worker:w1', '{"attempt":1,"started_at":"2023-11-14T22:13:20.100000Z","run_seconds":5.5,"exit_code":0,"cpu_seconds":0.25,"max_rss":1048576,"output_bytes":12}'),
(11, 'job:bad', 3, 'failed', 1, 1700000006000000, 'worker:w1', '{"attempt":1,"started_at":"2023-11-14T22:13:20.200000Z","run_seconds":5.25,"exit_code":3,"output_bytes":99,"output_cut":10,"cause":"exit"}'),
(12, 'job:bad', 4, 'retried', 1, 1700000006000000, 'worker:w1', '{"run_at":"2023-11-14T22:13:28.500000Z","delay":2.5}'),
(13, 'job:gone', 2, 'claimed', 1, 1700000007000000, 'worker:w2', '{"attempt":1,"worker":"w2"}'),
(14, 'job:gone', 3, 'released', 1, 1700000007100000, 'worker:w2', '{"attempt":1,"reason":"not started in time"}'),
(15, 'job:gone', 4, 'cancelled', 1, 1700000007200000, 'cli:ann@old', '{"reason":"no need"}'),
(16, 'job:gone', 5, 'purged', 1, 1700000007300000, 'cli:ann@old', '{"reason":"clean up"}'),
(17, 'job:bad', 5, 'claimed', 1, 1700000009000000, 'worker:w2', '{"attempt":2,"worker":"w2"}'),
(18, 'worker:w2', 2, 'worker_lost', 1, 1700000010000000, 'recovery:w1', '{"reason":"its process is gone"}'),
(19, 'job:bad', 6, 'failed', 1, 1700000010000000, 'recovery:w1', '{"attempt":2,"cause":"lost","error":"its worker died"}'),
(20, 'job:bad', 7, 'dead', 1, 1700000010000000, 'recovery:w1', '{"reason":"its attempt was lost"}'),
(21, 'job:bad', 8, 'requeued', 1, 1700000011000000, 'cli:ann@old', '{"run_at":"2023-11-14T22:13:31.000000Z","secrets":["TOKEN"],"reason":"again"}'),
(22, 'job:bad', 9, 'claimed', 1, 1700000012000000, 'worker:w1', '{"attempt":3,"worker":"w1"}'),
(23, 'job:bad', 10, 'cancel_requested', 1, 1700000013000000, 'cli:ann@old', '{"reason":"too slow"}'),
(24, 'job:bad', 11, 'cancelled', 1, 1700000014000000, 'worker:w1', '{"attempt":3,"run_seconds":1.5,"signal":15}'),
(25, 'worker:w1', 3, 'stop_requested', 1, 1700000015000000, 'cli:ann@old', '{"now":true,"reason":"home time"}'),
(26, 'worker:w1', 4, 'worker_stopped', 1, 1700000016000000, 'worker:w1', '{}');
