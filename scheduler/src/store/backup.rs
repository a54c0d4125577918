//! A backup: one file that either database can write and read.
//!
//! Lines of JSON: a head, each table's rows, and an end that counts them and
//! holds the SHA-256 of every byte before it. Read within one snapshot, so that
//! it is the state after some round; written beside its place and moved there
//! when it is whole and on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::database::{Kind, Statement, Transaction, Value};
use super::open;
use super::tables::{Column, TABLES, Table};
use super::{Location, StoreError};

/// The format that is written and read.
const FORMAT: u32 = 1;

/// Leaders after the backup had epochs above its own; whoever leads after the
/// restore has a higher one than any of them: a leader lasts a second or more.
const EPOCHS_AHEAD: i64 = 1_000_000;

/// Set by a restore: the next leader compares with the cloud before it acts.
pub const RESTORED_AT: &str = "restored_at_us";

/// Rows given to one insert.
const ROWS_AT_ONCE: usize = 500;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// Rows, by table.
    pub rows: BTreeMap<String, u64>,
    /// The schema of the database.
    pub schema: i64,
    /// The last round in it.
    pub round: u64,
    /// When it was made.
    pub made: Timestamp,
}

/// Why a backup was not made or not restored. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is a file of that name.
    #[error("{} exists: name another file, or add --force", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not a backup, or not whole.
    #[error("{} is not a whole backup: {why}; use another one", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where it is broken.
        why: String,
    },
    /// Of a newer spotwise.
    #[error("{} is a backup of format {format} and schema {schema}: use the spotwise that made it", path.display())]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// Its schema.
        schema: i64,
    },
    /// The database holds something.
    #[error("{location} is not empty (table {table}): restore into a new database")]
    NotEmpty {
        /// Where.
        location: String,
        /// A table with rows.
        table: &'static str,
    },
    /// The database.
    #[error("the database failed")]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
struct Head {
    spotwise_backup: u32,
    schema: i64,
    made_us: i64,
    round: u64,
    columns: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct End {
    rows: BTreeMap<String, u64>,
    sha256: String,
}

/// Writes all that lasts into one file. The scheduler may go on meanwhile.
pub async fn backup(
    location: &Location,
    path: &Path,
    force: bool,
    now: Timestamp,
) -> Result<BackupReport, BackupError> {
    if !force && path.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { path: path.to_owned() });
    }
    let database = open::open_to_read(location).await?;
    let mut transaction = database.snapshot().await?;
    if database.kind() == Kind::Postgres {
        // Disks may be slower than the patience of the server.
        let patience = "SET LOCAL idle_in_transaction_session_timeout = '10min'";
        transaction.execute(Statement::new("(backup)", patience)).await?;
    }
    let round = super::leader::last_round(&mut transaction).await?;
    let head = Head {
        spotwise_backup: FORMAT,
        schema: open::known(),
        made_us: now.as_microsecond(),
        round,
        columns: TABLES.iter().map(|table| (table.name.to_owned(), names(table))).collect(),
    };
    let fail = |source| BackupError::File { path: path.to_owned(), source };
    let mut part = Part::new(path).map_err(fail)?;
    part.line(&head).map_err(fail)?;
    let mut rows = BTreeMap::new();
    for table in &TABLES {
        let count =
            write_table(table, &mut transaction, &mut part).await.map_err(|e| e.at(path))?;
        rows.insert(table.name.to_owned(), count);
    }
    drop(transaction);
    database.close().await;
    let sha256 = part.digest();
    part.line(&End { rows: rows.clone(), sha256 }).map_err(fail)?;
    part.finish(path).map_err(fail)?;
    Ok(BackupReport { rows, schema: head.schema, round, made: now })
}

fn names(table: &Table) -> Vec<String> {
    table.columns.iter().map(|column| column.name().to_owned()).collect()
}

enum Trouble {
    Store(StoreError),
    File(io::Error),
}

impl Trouble {
    fn at(self, path: &Path) -> BackupError {
        match self {
            Self::Store(error) => error.into(),
            Self::File(source) => BackupError::File { path: path.to_owned(), source },
        }
    }
}

async fn write_table(
    table: &Table,
    transaction: &mut Transaction,
    part: &mut Part,
) -> Result<u64, Trouble> {
    let mut count = 0;
    let mut last: Option<Vec<Value>> = None;
    loop {
        let page = table.page(transaction, last.as_deref()).await.map_err(Trouble::Store)?;
        for (values, _) in &page {
            let values: Vec<Json> = values.iter().map(to_json).collect();
            part.line(&(table.name, values)).map_err(Trouble::File)?;
            count += 1;
        }
        match page.into_iter().last() {
            Some((values, _)) => last = Some(values),
            None => return Ok(count),
        }
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Int(number) => Json::from(*number),
        Value::Text(text) => Json::from(text.clone()),
    }
}

/// The file while it is written.
struct Part {
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    kept: bool,
}

impl Part {
    fn new(place: &Path) -> io::Result<Self> {
        let mut name = place.as_os_str().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let path = PathBuf::from(name);
        // What jobs are is for nobody else to read.
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = BufWriter::new(options.open(&path)?);
        Ok(Self { path, file, hash: Sha256::new(), kept: false })
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.hash.update(&line);
        self.file.write_all(&line)
    }

    fn digest(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    /// On disk before it has its name, and the name on disk before this returns.
    fn finish(mut self, place: &Path) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        std::fs::rename(&self.path, place)?;
        self.kept = true;
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts a backup into an empty database. The whole file is looked at before
/// anything is changed, and it is put in as one transaction.
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
    mark(&mut transaction, now).await?;
    transaction.commit().await?;
    database.close().await;
    let made = Timestamp::from_microsecond(head.made_us).unwrap_or_default();
    Ok(BackupReport { rows, schema: head.schema, round: head.round, made })
}

/// Older leaders are refused, and the next one knows.
async fn mark(transaction: &mut Transaction, now: Timestamp) -> Result<(), StoreError> {
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
    let restored = restored.bind(RESTORED_AT).bind(now.as_microsecond().to_string());
    transaction.execute(restored).await.map(drop)
}

/// Reads the whole file once and checks every line, the counts and the sum.
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
