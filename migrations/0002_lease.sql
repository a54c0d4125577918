-- Until when the leader leads unless it renews (microseconds since 1970 by the
-- database's own clock), and where it answers.
ALTER TABLE leader ADD COLUMN expires_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE leader ADD COLUMN address TEXT NOT NULL DEFAULT '';
