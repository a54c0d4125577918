-- What machines cost, as it was heard: from at_us on (market time), until the next row of
-- the same, this many micro-dollars an hour. Forgotten after ninety days, but for what
-- machines that are not settled cost, and each one's last row before it.
CREATE TABLE prices (
    zone            TEXT   NOT NULL,
    instance_type   TEXT   NOT NULL,
    capacity_type   TEXT   NOT NULL CHECK (capacity_type IN ('spot', 'on-demand')),
    at_us           BIGINT NOT NULL,
    micros_per_hour BIGINT NOT NULL CHECK (micros_per_hour > 0),
    PRIMARY KEY (zone, instance_type, capacity_type, at_us)
);

-- To what time every price is known; no row, or one.
CREATE TABLE price_feed (
    id       BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    until_us BIGINT NOT NULL
);
