//! What a database's error code means to us, with SQLite and PostgreSQL side by side.

use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::postgres::PgDatabaseError;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A rule of the schema was violated.
    Conflict,
    /// Something needed was locked for too long.
    Busy,
    /// Two transactions conflicted: retry at once.
    Contention,
    /// No space left.
    DiskFull,
    /// Damaged.
    Corrupt,
    /// It does not answer now, or its answer was lost.
    Unavailable,
    /// A bug of ours, or something unexpected.
    Other,
}

impl Fault {
    /// Classifies a driver's error.
    pub(super) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => Self::of_database(error.as_ref()),
            // TLS: a handshake that was cut off.
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable,
            // Half an answer of a server that went away.
            sqlx::Error::Protocol(_) => Self::Unavailable,
            _ => Self::Other,
        }
    }

    fn of_database(error: &(dyn DatabaseError + 'static)) -> Self {
        let code = error.code().unwrap_or_default();
        if error.try_downcast_ref::<PgDatabaseError>().is_some() {
            return Self::of_sqlstate(&code);
        }
        if !matches!(error.kind(), ErrorKind::Other) {
            return Self::Conflict;
        }
        Self::of_sqlite(code.parse().unwrap_or(0))
    }

    /// SQLite's primary result code is the low byte of the extended one.
    /// <https://www.sqlite.org/rescode.html>
    const fn of_sqlite(code: i32) -> Self {
        match code & 0xff {
            5 | 6 => Self::Busy,              // BUSY, LOCKED
            7 | 10 | 14 => Self::Unavailable, // NOMEM, IOERR, CANTOPEN
            11 | 26 => Self::Corrupt,         // CORRUPT, NOTADB
            13 => Self::DiskFull,             // FULL
            _ => Self::Other,
        }
    }

    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    fn of_sqlstate(code: &str) -> Self {
        match code {
            // serialization_failure, deadlock_detected
            "40001" | "40P01" => Self::Contention,
            // lock_not_available: `lock_timeout`
            "55P03" => Self::Busy,
            "53100" => Self::DiskFull,
            // data_corrupted, index_corrupted
            "XX001" | "XX002" => Self::Corrupt,
            // query_canceled: `statement_timeout`, or an operator
            "57014"
            // admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped,
            // idle_session_timeout
            | "57P01" | "57P02" | "57P03" | "57P04" | "57P05"
            // idle_in_transaction_session_timeout
            | "25P03"
            // read_only_sql_transaction: the server became a standby
            | "25006"
            // io_error
            | "58030" => Self::Unavailable,
            // connection exceptions; insufficient resources
            _ if code.starts_with("08") || code.starts_with("53") => Self::Unavailable,
            // integrity constraint violations
            _ if code.starts_with("23") => Self::Conflict,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn codes_of_postgresql_are_sorted() {
        for (code, fault) in [
            ("40001", Fault::Contention),
            ("40P01", Fault::Contention),
            ("55P03", Fault::Busy),
            ("53100", Fault::DiskFull),
            ("53300", Fault::Unavailable),
            ("08006", Fault::Unavailable),
            ("57P01", Fault::Unavailable),
            ("57P03", Fault::Unavailable),
            ("57014", Fault::Unavailable),
            ("25006", Fault::Unavailable),
            ("23505", Fault::Conflict),
            ("23503", Fault::Conflict),
            ("23514", Fault::Conflict),
            ("XX001", Fault::Corrupt),
            ("42P01", Fault::Other),
            ("22021", Fault::Other),
            ("28P01", Fault::Other),
            ("", Fault::Other),
        ] {
            assert_eq!(Fault::of_sqlstate(code), fault, "{code}");
        }
    }

    #[test]
    fn extended_codes_of_sqlite_are_sorted_by_their_low_byte() {
        for (code, fault) in [
            (5, Fault::Busy),
            (517, Fault::Busy),
            (778, Fault::Unavailable),
            (13, Fault::DiskFull),
            (267, Fault::Corrupt),
            (1, Fault::Other),
        ] {
            assert_eq!(Fault::of_sqlite(code), fault, "{code}");
        }
    }
}
