//! Checks a backup, and loads it into an empty database.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{BackupError, BackupReport, End, FORMAT, Head, RESTORED_AT, RESTORED_FROM, hex};
use crate::database::{Statement, Transaction, Value};
use crate::tables::{Column, TABLES, Table};
use crate::{Location, StoreError, open};

/// Leaders after the backup had higher epochs than it; the leader after the restore gets a
/// higher one than any of them: a leader lasts a second or more.
const EPOCHS_AHEAD: i64 = 1_000_000;

/// Rows passed to one insert.
const ROWS_AT_ONCE: usize = 500;

/// Loads a backup into an empty database. The whole file is checked before anything is
/// changed, and it is loaded in one transaction.
pub async fn restore(
    location: &Location,
    path: &Path,
    now: Timestamp,
) -> Result<BackupReport, BackupError> {
    let (head, rows) = verify(path)?;
    let (database, _lock) = open::open(location).await?;
    for table in &TABLES {
        if table.count(&database).await? > 0 {
            return Err(BackupError::NotEmpty {
                location: location.to_string(),
                table: table.name,
            });
        }
    }
    let mut transaction = database.write().await?;
    let mut reader = Reader::open(path)?;
    reader.next()?;
    let mut batch: Vec<Vec<Value>> = Vec::new();
    let mut current: Option<&'static Table> = None;
    while let Some(line) = reader.next()? {
        let Ok((name, values)) = serde_json::from_str::<(String, Vec<Json>)>(&line) else { break };
        let (table, values) = reader.row(&name, values)?;
        let full = batch.len() >= ROWS_AT_ONCE || current.is_some_and(|now| now.name != name);
        if let (Some(before), true) = (current, full) {
            before.insert(&mut transaction, std::mem::take(&mut batch)).await?;
        }
        current = Some(table);
        batch.push(values);
    }
    if let Some(last) = current {
        last.insert(&mut transaction, batch).await?;
    }
    let made = Timestamp::from_microsecond(head.made_us).unwrap_or_default();
    mark(&mut transaction, made, now).await?;
    transaction.commit().await?;
    database.close().await;
    Ok(BackupReport { rows, schema: head.schema, round: head.round, made })
}

/// Older leaders are refused, and the next one is told.
async fn mark(
    transaction: &mut Transaction,
    made: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let epoch = Statement::new(
        "leader",
        "UPDATE leader SET epoch = epoch + $1, expires_us = 0 WHERE id = 1",
    );
    transaction.execute(epoch.bind(EPOCHS_AHEAD)).await?;
    let restored = Statement::new(
        "meta",
        "INSERT INTO meta (key, value) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    );
    for (key, at) in [(RESTORED_AT, now), (RESTORED_FROM, made)] {
        let value = at.as_microsecond().to_string();
        transaction.execute(restored.clone().bind(key).bind(value)).await?;
    }
    Ok(())
}

/// Reads the whole file once and checks every line, the counts and the checksum.
fn verify(path: &Path) -> Result<(Head, BTreeMap<String, u64>), BackupError> {
    let mut reader = Reader::open(path)?;
    let first = reader.next()?.ok_or_else(|| reader.damaged("it is empty"))?;
    let head: Head =
        serde_json::from_str(&first).map_err(|_| reader.damaged("its head is not readable"))?;
    if head.spotwise_backup > FORMAT || head.schema > open::known() {
        let (format, schema) = (head.spotwise_backup, head.schema);
        return Err(BackupError::Newer { path: path.to_owned(), format, schema });
    }
    // A table that is younger than the backup is empty.
    let older = head.schema < open::known();
    let same = |table: &Table| head.columns.get(table.name).map_or(older, |c| table.has(c));
    if !TABLES.iter().all(same) {
        return Err(reader.damaged("its columns are those of another schema"));
    }
    let mut rows: BTreeMap<String, u64> =
        head.columns.keys().map(|table| (table.clone(), 0)).collect();
    loop {
        let before = reader.digest();
        let line = reader.next()?.ok_or_else(|| reader.damaged("its end is missing"))?;
        if let Ok(end) = serde_json::from_str::<End>(&line) {
            if end.sha256 != before {
                return Err(reader.damaged("its checksum is another"));
            }
            if end.rows != rows {
                return Err(reader.damaged("rows are missing"));
            }
            if reader.next()?.is_some() {
                return Err(reader.damaged("something follows its end"));
            }
            return Ok((head, rows));
        }
        let row = serde_json::from_str::<(String, Vec<Json>)>(&line);
        let (name, values) = row.map_err(|_| reader.damaged("a line is not readable"))?;
        reader.row(&name, values)?;
        *rows.entry(name).or_default() += 1;
    }
}

struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    hash: Sha256,
    line: u64,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path)
            .map_err(|source| BackupError::File { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: BufReader::new(file), hash: Sha256::new(), line: 0 })
    }

    fn next(&mut self) -> Result<Option<String>, BackupError> {
        let mut line = String::new();
        let read = self.file.read_line(&mut line);
        let read = read.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => self.damaged("it is not text"),
            _ => BackupError::File { path: self.path.clone(), source: error },
        })?;
        self.line += 1;
        self.hash.update(&line);
        if read > 0 && !line.ends_with('\n') {
            return Err(self.damaged("it is cut off"));
        }
        Ok((read > 0).then_some(line))
    }

    fn digest(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    fn damaged(&self, why: &str) -> BackupError {
        let why = format!("line {}: {why}", self.line);
        BackupError::Damaged { path: self.path.clone(), why }
    }

    fn row(
        &self,
        name: &str,
        values: Vec<Json>,
    ) -> Result<(&'static Table, Vec<Value>), BackupError> {
        let table = TABLES.iter().find(|table| table.name == name);
        let table = table.ok_or_else(|| self.damaged("its table is unknown"))?;
        let columns = table.columns.len();
        if values.len() > columns || values.len() + table.added() < columns {
            return Err(self.damaged("it has another number of columns"));
        }
        // Older backups lack the last columns.
        let nulls = std::iter::repeat(Json::Null);
        let values = table.columns.iter().zip(values.into_iter().chain(nulls)).map(
            |(column, value)| match (column, value) {
                (Column::Int(_), Json::Null) => Ok(Value::Int(None)),
                (Column::Text(_), Json::Null) => Ok(Value::Text(None)),
                (Column::Int(_), Json::Number(number)) if number.is_i64() => {
                    Ok(Value::Int(number.as_i64()))
                }
                (Column::Text(_), Json::String(text)) => Ok(Value::Text(Some(text))),
                (column, _) => {
                    Err(self.damaged(&format!("column {} is of another kind", column.name())))
                }
            },
        );
        Ok((table, values.collect::<Result<_, _>>()?))
    }
}
