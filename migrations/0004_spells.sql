-- What was seen of the spot markets, in market time: from at_us on, until the
-- offer's next row, so many machines could be had at once. Forgotten after the
-- forecasts' memory, but for each offer's last row before it.
CREATE TABLE spells (
    pool          TEXT   NOT NULL,
    zone          TEXT   NOT NULL,
    instance_type TEXT   NOT NULL,
    at_us         BIGINT NOT NULL,
    machines      BIGINT NOT NULL CHECK (machines BETWEEN 0 AND 4294967295),
    PRIMARY KEY (pool, zone, instance_type, at_us)
);

-- When anybody looked: what lies between two of these was not seen.
CREATE TABLE watches (
    from_us  BIGINT NOT NULL PRIMARY KEY,
    until_us BIGINT NOT NULL,
    CHECK (from_us <= until_us)
);
