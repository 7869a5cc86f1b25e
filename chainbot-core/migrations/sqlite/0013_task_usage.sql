-- What the tasks of one tree cost: a task that somebody gave, and the tasks of the runs that it began. Written in the transaction of each call's end, so
-- that a task's budget holds for what it has others do. `run` is the first task's; the row goes with that run.
CREATE TABLE task_usage (
    run BLOB PRIMARY KEY CHECK (length(run) = 16),
    tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
