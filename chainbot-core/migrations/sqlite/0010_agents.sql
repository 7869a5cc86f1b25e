-- Agents: what is said of a workflow that is one. Its definition is a version of that workflow, its tasks are its runs.
--
-- `state`: 0 = live, 1 = in error (it takes no task until somebody says so), 2 = terminated for good. `failed_in_row` counts tasks.
CREATE TABLE agent (
    workflow BLOB PRIMARY KEY CHECK (length(workflow) = 16),
    kind TEXT NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),
    reason TEXT,
    failed_in_row INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    last_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What models cost, a row for each day (of UTC, since 1970), agent, server and model. `cost` is in millionths of the currency. Written in the
-- transaction of the call's end.
CREATE TABLE model_usage (
    day INTEGER NOT NULL,
    agent BLOB NOT NULL CHECK (length(agent) = 16),
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    calls INTEGER NOT NULL,
    input INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    PRIMARY KEY (day, agent, provider, model)
) STRICT, WITHOUT ROWID;
