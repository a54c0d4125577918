-- Tokens by the part of them that is no secret. What is kept of the secret is its hash, in
-- the document.
CREATE TABLE tokens (
    id       TEXT   NOT NULL PRIMARY KEY,
    format   BIGINT NOT NULL,
    document TEXT   NOT NULL
);

-- Who did what: only ever added to, each entry with the hash of the one before.
CREATE TABLE audit (
    number   BIGINT NOT NULL PRIMARY KEY CHECK (number > 0),
    at_us    BIGINT NOT NULL,
    format   BIGINT NOT NULL,
    document TEXT   NOT NULL
);

-- Who asked for what an event says; null for nobody.
ALTER TABLE events ADD COLUMN asked_by TEXT;
