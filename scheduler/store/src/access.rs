//! Tables `tokens` and `audit`.

use std::collections::BTreeMap;

use spotwise_control::core::{AuditEntry, AuditHead};
use spotwise_model::access::Token;

use super::StoreError;
use super::database::{Database, Insert, Row, Statement, Transaction};
use super::document::{FORMAT, decode, encode};

const TOKENS: &str = "tokens";
const AUDIT: &str = "audit";

const NEW_TOKENS: Insert<'static> = Insert {
    table: TOKENS,
    columns: &["id", "format", "document"],
    on_conflict: "ON CONFLICT (id) DO UPDATE SET format = excluded.format, \
        document = excluded.document",
};

const NEW_ENTRIES: Insert<'static> =
    Insert { table: AUDIT, columns: &["number", "at_us", "format", "document"], on_conflict: "" };

/// Adds or overwrites the tokens.
pub(super) async fn write_tokens(
    transaction: &mut Transaction,
    tokens: &BTreeMap<&str, &Token>,
) -> Result<(), StoreError> {
    let row = |token: &&Token| {
        Ok(vec![token.id.as_str().into(), FORMAT.into(), encode(TOKENS, token)?.into()])
    };
    let rows: Result<Vec<_>, StoreError> = tokens.values().map(row).collect();
    NEW_TOKENS.run(transaction, rows?).await
}

/// Adds the entries. A number that already exists is an error.
pub(super) async fn write_audit(
    transaction: &mut Transaction,
    entries: &[&AuditEntry],
) -> Result<(), StoreError> {
    let row = |entry: &&AuditEntry| {
        if entry.number == 0 {
            let what = "an entry of the audit log without number".to_owned();
            return Err(StoreError::Invalid { what });
        }
        let document = encode(AUDIT, entry)?;
        Ok(vec![entry.number.into(), entry.at.into(), FORMAT.into(), document.into()])
    };
    let rows: Result<Vec<_>, StoreError> = entries.iter().map(row).collect();
    NEW_ENTRIES.run(transaction, rows?).await
}

/// Rows of all tokens.
pub(super) async fn tokens(transaction: &mut Transaction) -> Result<Vec<Row>, StoreError> {
    let sql = "SELECT id, format, document FROM tokens ORDER BY id";
    transaction.fetch(Statement::new(TOKENS, sql)).await
}

/// The token of a row.
pub(super) fn read_token(row: &Row) -> Result<Token, StoreError> {
    decode(row, row.text("id")?)
}

/// The end of the audit log.
pub(super) async fn head(transaction: &mut Transaction) -> Result<AuditHead, StoreError> {
    let sql = "SELECT number, format, document FROM audit ORDER BY number DESC LIMIT 1";
    let rows = transaction.fetch(Statement::new(AUDIT, sql)).await?;
    let last = rows.first().map(read_entry).transpose()?;
    Ok(last
        .map_or_else(AuditHead::default, |last| AuditHead { number: last.number, hash: last.hash }))
}

/// Entries with a number above `after`, oldest first.
pub(super) async fn audit(
    database: &Database,
    after: u64,
    limit: u32,
) -> Result<Vec<AuditEntry>, StoreError> {
    let sql = "SELECT number, format, document FROM audit WHERE number > $1
               ORDER BY number LIMIT $2";
    let statement = Statement::new(AUDIT, sql).bind(after).bind(limit);
    database.fetch(statement).await?.iter().map(read_entry).collect()
}

fn read_entry(row: &Row) -> Result<AuditEntry, StoreError> {
    decode(row, row.unsigned("number")?)
}
