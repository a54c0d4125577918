//! The connections, behind one type: SQLite or PostgreSQL. All code that knows which
//! database it is lives in this folder and in `open`; the tables' files use SQL that both
//! share, through [`Statement`], [`Transaction`] and [`Row`]. Where they differ, a
//! statement's two texts stand side by side, by [`Kind`].

pub(super) mod postgres;
mod row;
pub(super) mod sqlite;
mod statement;

pub(super) use row::Row;
pub(super) use statement::{Insert, Statement, Value};

use super::StoreError;
use postgres::Postgres;
use sqlite::Sqlite;

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file, and one scheduler.
    Sqlite,
    /// A server, and any number of schedulers waiting to lead.
    Postgres,
}

/// A few connections that write, and a few that read alongside them.
#[derive(Clone)]
pub(super) enum Database {
    /// A file.
    Sqlite(Sqlite),
    /// A server.
    Postgres(Postgres),
}

impl Database {
    /// Which database it is.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(_) => Kind::Sqlite,
            Self::Postgres(_) => Kind::Postgres,
        }
    }

    /// A transaction that writes.
    pub(super) async fn write(&self) -> Result<Transaction, StoreError> {
        Ok(match self {
            Self::Sqlite(file) => Transaction::Sqlite(file.write().await?),
            Self::Postgres(server) => Transaction::Postgres(server.write().await?),
        })
    }

    /// A transaction that sees a single moment and writes nothing.
    pub(super) async fn snapshot(&self) -> Result<Transaction, StoreError> {
        Ok(match self {
            Self::Sqlite(file) => Transaction::Sqlite(file.snapshot().await?),
            Self::Postgres(server) => Transaction::Postgres(server.snapshot().await?),
        })
    }

    /// The rows of one query.
    pub(super) async fn fetch(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(file) => file.fetch(statement).await,
            Self::Postgres(server) => server.fetch(statement).await,
        }
    }

    /// The first row of one query.
    pub(super) async fn fetch_first(
        &self,
        statement: Statement,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch(statement).await?.into_iter().next())
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(file) => file.close().await,
            Self::Postgres(server) => server.close().await,
        }
    }
}

/// All or nothing. Rolled back if dropped before its commit.
pub(super) enum Transaction {
    /// On a file.
    Sqlite(sqlite::Session),
    /// On a server.
    Postgres(postgres::Session),
}

impl Transaction {
    /// Which database it is.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(_) => Kind::Sqlite,
            Self::Postgres(_) => Kind::Postgres,
        }
    }

    /// Runs a statement; returns how many rows it touched.
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(session) => session.execute(statement).await,
            Self::Postgres(session) => session.execute(statement).await,
        }
    }

    /// The rows of one query.
    pub(super) async fn fetch(&mut self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(session) => session.fetch(statement).await,
            Self::Postgres(session) => session.fetch(statement).await,
        }
    }

    /// Makes it durable. After an error it is unknown whether it is.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(session) => session.commit().await,
            Self::Postgres(session) => session.commit().await,
        }
    }
}
