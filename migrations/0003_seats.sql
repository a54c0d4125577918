-- Where an attempt's part of a GPU is on each of its machines, by rank: GPU.START,
-- START being the first memory slice. None where it takes no part, and in rows of
-- before.
ALTER TABLE attempts ADD COLUMN seats TEXT;
