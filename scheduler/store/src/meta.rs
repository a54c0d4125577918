//! Table `meta`: single values by name that hold whoever leads.

use super::StoreError;
use super::database::{Database, Statement};

const TABLE: &str = "meta";

/// The value of a name.
pub(super) async fn get(database: &Database, key: &str) -> Result<Option<String>, StoreError> {
    let statement = Statement::new(TABLE, "SELECT key, value FROM meta WHERE key = $1");
    let row = database.fetch_first(statement.bind(key)).await?;
    row.map(|row| row.text("value")).transpose()
}

/// Sets the value of a name.
pub(super) async fn set(database: &Database, key: &str, value: &str) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    let statement = Statement::new(
        TABLE,
        "INSERT INTO meta (key, value) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    );
    transaction.execute(statement.bind(key).bind(value)).await?;
    transaction.commit().await
}
