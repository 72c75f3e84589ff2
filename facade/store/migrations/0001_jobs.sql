-- One set of statements for SQLite and PostgreSQL. Times are microseconds since 1970 (UTC); flags are 0 or 1.
CREATE TABLE jobs (
    id               TEXT   NOT NULL PRIMARY KEY,
    namespace        TEXT   NOT NULL,
    endpoint         TEXT   NOT NULL,
    dialect          TEXT   NOT NULL,
    task             TEXT   NOT NULL,
    checkpoint       TEXT   NOT NULL,
    request          TEXT   NOT NULL,
    dialect_params   TEXT   NOT NULL,
    idempotency_key  TEXT,
    state            TEXT   NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    -- Rises with every claim and never falls: the fencing number.
    attempt          BIGINT NOT NULL,
    -- Attempts that count against max_tries; a released one does not.
    tries            BIGINT NOT NULL,
    max_tries        BIGINT NOT NULL,
    timeout_us       BIGINT NOT NULL,
    cancel_requested BIGINT NOT NULL,
    -- A job that waits after a failure is not handed out before this time.
    not_before       BIGINT NOT NULL,
    worker           TEXT,
    lease_until      BIGINT,
    -- End of the time that the running attempt may take altogether; no heartbeat moves it.
    deadline         BIGINT,
    progress         TEXT,
    failure          TEXT,
    completion       TEXT,
    created_at       BIGINT NOT NULL,
    started_at       BIGINT,
    finished_at      BIGINT
);

-- The claim, the queue limit and the queue figures.
CREATE INDEX jobs_queued ON jobs (namespace, endpoint, created_at, id) WHERE state = 'queued';
-- Queue figures and the search for leases that ran out: as large as the number of running jobs.
CREATE INDEX jobs_running ON jobs (namespace, endpoint, lease_until) WHERE state = 'running';
-- Lists, newest first, whole or by one endpoint or by one state.
CREATE INDEX jobs_by_age ON jobs (namespace, created_at, id);
CREATE INDEX jobs_by_endpoint ON jobs (namespace, endpoint, created_at, id);
CREATE INDEX jobs_by_state ON jobs (namespace, state, created_at, id);
-- Retention.
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE UNIQUE INDEX jobs_idempotency ON jobs (namespace, endpoint, idempotency_key) WHERE idempotency_key IS NOT NULL;
