-- Plain SQL that SQLite and PostgreSQL both speak: BIGINT and TEXT only.
-- A `document` is the JSON of the whole thing and the truth; the columns beside
-- it are copies to filter and sort by. `format` is the version of the document.
-- Times end in _us (microseconds since 1970), money in _micros (micro-dollars).

CREATE TABLE jobs (
    id           BIGINT NOT NULL PRIMARY KEY,
    group_id     BIGINT NOT NULL,
    name         TEXT   NOT NULL,
    model        TEXT,
    class        TEXT   NOT NULL,
    state        TEXT   NOT NULL,
    submitted_us BIGINT NOT NULL,
    deadline_us  BIGINT NOT NULL,
    ended_us     BIGINT,
    priority     BIGINT NOT NULL,
    spent_micros BIGINT NOT NULL,
    format       BIGINT NOT NULL,
    document     TEXT   NOT NULL
);
CREATE INDEX jobs_by_name ON jobs (name, id);
CREATE INDEX jobs_by_group ON jobs (group_id, id);
CREATE INDEX jobs_by_state ON jobs (state, id);
-- What a starting scheduler reads stays small however long the history is.
CREATE INDEX jobs_not_over ON jobs (id) WHERE ended_us IS NULL;

CREATE TABLE job_tags (
    job   BIGINT NOT NULL REFERENCES jobs (id),
    key   TEXT   NOT NULL,
    value TEXT   NOT NULL,
    PRIMARY KEY (job, key)
);
CREATE INDEX job_tags_by_value ON job_tags (key, value, job);

CREATE TABLE attempts (
    job      BIGINT NOT NULL REFERENCES jobs (id),
    number   BIGINT NOT NULL,
    state    TEXT   NOT NULL,
    live     BIGINT NOT NULL CHECK (live IN (0, 1)),
    format   BIGINT NOT NULL,
    document TEXT   NOT NULL,
    PRIMARY KEY (job, number)
);
CREATE INDEX attempts_unsettled ON attempts (job, number) WHERE state <> 'settled';
-- A job never runs twice at once.
CREATE UNIQUE INDEX attempts_one_live ON attempts (job) WHERE live = 1;

CREATE TABLE instances (
    id       BIGINT NOT NULL PRIMARY KEY,
    state    TEXT   NOT NULL,
    settled  BIGINT NOT NULL CHECK (settled IN (0, 1)),
    format   BIGINT NOT NULL,
    document TEXT   NOT NULL
);
CREATE INDEX instances_unsettled ON instances (id) WHERE settled = 0;

-- Only ever added to: (instance, sequence) names a charge for ever.
CREATE TABLE ledger (
    instance         BIGINT NOT NULL REFERENCES instances (id),
    sequence         BIGINT NOT NULL,
    job              BIGINT REFERENCES jobs (id),
    attempt          BIGINT,
    kind             TEXT   NOT NULL,
    amount_micros    BIGINT NOT NULL,
    on_demand_micros BIGINT NOT NULL,
    from_us          BIGINT NOT NULL,
    to_us            BIGINT NOT NULL,
    format           BIGINT NOT NULL,
    document         TEXT   NOT NULL,
    PRIMARY KEY (instance, sequence)
);
-- Holds the amount too, so that the total is summed without the documents.
CREATE INDEX ledger_by_time ON ledger (from_us, amount_micros);
CREATE INDEX ledger_by_job ON ledger (job, from_us);

CREATE TABLE events (
    number  BIGINT NOT NULL PRIMARY KEY,
    job     BIGINT NOT NULL REFERENCES jobs (id),
    attempt BIGINT,
    at_us   BIGINT NOT NULL,
    kind    TEXT   NOT NULL,
    message TEXT   NOT NULL
);
CREATE INDEX events_by_job ON events (job, number);

CREATE TABLE submissions (
    key           TEXT   NOT NULL PRIMARY KEY,
    document_hash TEXT   NOT NULL,
    jobs          TEXT   NOT NULL,
    at_us         BIGINT NOT NULL
);

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- One row: who leads, and the last round that was committed, by which leader.
CREATE TABLE leader (
    id          BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch       BIGINT NOT NULL,
    holder      TEXT   NOT NULL,
    since_us    BIGINT NOT NULL,
    round       BIGINT NOT NULL,
    round_epoch BIGINT NOT NULL
);
