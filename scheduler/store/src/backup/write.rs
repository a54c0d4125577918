//! Makes a backup.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{BackupError, BackupReport, End, FORMAT, Head, hex};
use crate::database::{Kind, Statement, Transaction, Value};
use crate::tables::{TABLES, Table};
use crate::{Location, StoreError, leader, open};

/// Writes everything durable into one file. The scheduler may keep running.
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
    let round = leader::last_round(&mut transaction).await?;
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

/// The file while it is being written.
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

    /// On disk before it gets its name, and the name on disk before this returns.
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
