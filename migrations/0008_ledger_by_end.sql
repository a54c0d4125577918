-- A report of a period reads the charges that reach into it: also what began before.
CREATE INDEX ledger_by_end ON ledger (to_us, from_us);
