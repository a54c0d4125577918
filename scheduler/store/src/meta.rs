//! Table `meta`: single values by name that hold whoever leads.

use super::StoreError;
use super::database::{Database, Statement, Transaction};

const TABLE: &str = "meta";
/// Whether all buying is stopped, as a document.
pub(super) const FROZEN: &str = "frozen";
const SELECT: &str = "SELECT key, value FROM meta WHERE key = $1";

/// The value of a name.
pub(super) async fn get(database: &Database, key: &str) -> Result<Option<String>, StoreError> {
    let row = database.fetch_first(Statement::new(TABLE, SELECT).bind(key)).await?;
    row.map(|row| row.text("value")).transpose()
}

/// Sets the value of a name.
pub(super) async fn set(database: &Database, key: &str, value: &str) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    write(&mut transaction, key, value).await?;
    transaction.commit().await
}

/// The value of a name, as of a transaction.
pub(super) async fn read(
    transaction: &mut Transaction,
    key: &str,
) -> Result<Option<String>, StoreError> {
    let rows = transaction.fetch(Statement::new(TABLE, SELECT).bind(key)).await?;
    rows.first().map(|row| row.text("value")).transpose()
}

/// Sets the value of a name as part of a transaction.
pub(super) async fn write(
    transaction: &mut Transaction,
    key: &str,
    value: &str,
) -> Result<(), StoreError> {
    let statement = Statement::new(
        TABLE,
        "INSERT INTO meta (key, value) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    );
    transaction.execute(statement.bind(key).bind(value)).await?;
    Ok(())
}
