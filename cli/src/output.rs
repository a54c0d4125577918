//! Standard output: lines, tables, JSON.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::exit::Failure;
use crate::text;

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// One JSON document, complete and stable, on standard output; what went wrong is
    /// a line on standard error, `error: …`.
    Json,
}

/// Where answers go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// How they are written.
    pub(crate) format: Format,
    /// Whether a person looks at it.
    pub(crate) terminal: bool,
    color: bool,
}

impl Output {
    /// Looks at what standard output is. NO_COLOR and CLICOLOR count.
    pub(crate) fn new(format: Format, no_color: bool) -> Self {
        if no_color {
            anstream::ColorChoice::Never.write_global();
        }
        let stdout = std::io::stdout();
        let color = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        Self { format, terminal: stdout.is_terminal(), color }
    }

    /// Whether answers are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// One line.
    pub(crate) fn line(&self, line: impl Display) -> Result<(), Failure> {
        writeln!(anstream::stdout(), "{line}").map_err(|e| Failure::output(&e))
    }

    /// Bytes as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|e| Failure::output(&e))
    }

    /// A value as indented JSON.
    pub(crate) fn json<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(value).map_err(|e| Failure::output(&e.into()))?;
        self.line(text::safe_json(&json))
    }

    /// A part of a document, seen at once.
    pub(crate) fn part(&self, text: &str) -> Result<(), Failure> {
        self.raw(text.as_bytes())
    }

    /// A value as indented JSON, every line of it behind `indent`.
    pub(crate) fn inner_json<T: Serialize>(value: &T, indent: &str) -> Result<String, Failure> {
        let json = serde_json::to_string_pretty(value).map_err(|e| Failure::output(&e.into()))?;
        let json = text::safe_json(&json);
        let lines: Vec<String> = json.lines().map(|line| format!("{indent}{line}")).collect();
        Ok(lines.join("\n"))
    }

    /// A value as one line of JSON, for streams.
    pub(crate) fn json_line<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let json = serde_json::to_string(value).map_err(|e| Failure::output(&e.into()))?;
        self.line(text::safe_json(&json))
    }

    /// A table without borders.
    pub(crate) fn table(&self, table: &Grid) -> Result<(), Failure> {
        self.line(self.render(table))
    }

    /// A table as text. A reader of a pipe wants whole lines; a person wants
    /// them to fit.
    pub(crate) fn render(&self, grid: &Grid) -> String {
        self.arrange(grid, self.terminal)
    }

    /// A table as text, one line a row however long.
    pub(crate) fn render_wide(&self, grid: &Grid) -> String {
        self.arrange(grid, false)
    }

    fn arrange(&self, grid: &Grid, fit: bool) -> String {
        let mut table = grid.table.clone();
        if self.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_content_arrangement(if fit {
            ContentArrangement::Dynamic
        } else {
            ContentArrangement::Disabled
        });
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if grid.right.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }

    /// Emphasis, where there is colour.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.styled(anstyle::Style::new().bold(), text)
    }

    /// Less important, where there is colour.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.styled(anstyle::Style::new().dimmed(), text)
    }

    /// Something to look at, where there is colour.
    pub(crate) fn warn(&self, text: &str) -> String {
        self.styled(anstyle::AnsiColor::Yellow.on_default(), text)
    }

    fn styled(&self, style: anstyle::Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// A note to the person, on standard error.
pub(crate) fn note(line: impl Display) {
    // Nobody to tell if standard error is gone.
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// A question to the person, on standard error, without a line's end.
pub(crate) fn prompt(question: &str) {
    let mut stderr = anstream::stderr();
    let _ = write!(stderr, "{question}").and_then(|()| stderr.flush());
}

/// A table being filled. Every cell is made safe for a terminal.
pub(crate) struct Grid {
    table: Table,
    right: Vec<usize>,
}

impl Grid {
    /// With these columns; those that begin with `>` are aligned to the right.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let right = columns
            .iter()
            .enumerate()
            .filter_map(|(index, name)| name.starts_with('>').then_some(index))
            .collect();
        table.set_header(
            columns
                .iter()
                .map(|name| Cell::new(name.trim_start_matches('>')).add_attribute(Attribute::Bold)),
        );
        Self { table, right }
    }

    /// Without a header line.
    pub(crate) fn plain(right: &[usize]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        Self { table, right: right.to_vec() }
    }

    /// One more row.
    pub(crate) fn row<I: IntoIterator<Item = String>>(&mut self, cells: I) {
        self.table.add_row(cells.into_iter().map(|cell| state_cell(&text::one_line(&cell))));
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

/// States and outcomes have their colour wherever they stand.
fn state_cell(text: &str) -> Cell {
    let cell = Cell::new(text);
    match text {
        "succeeded" | "met" => cell.fg(Color::Green),
        "failed" | "rejected" | "missed" | "lost" | "launch failed" => cell.fg(Color::Red),
        "interrupted" | "held" | "over budget" | "timed out" | "gang broken" => {
            cell.fg(Color::Yellow)
        }
        "active" | "running" => cell.fg(Color::Cyan),
        "cancelled" | "skipped" => cell.add_attribute(Attribute::Dim),
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Output {
        Output { format: Format::Table, terminal: false, color: false }
    }

    #[test]
    fn tables_are_aligned_and_safe() {
        let mut grid = Grid::new(&["NAME", ">SPENT"]);
        grid.row(["train".to_owned(), "$1.00".to_owned()]);
        grid.row(["a\x1b[2J\nb".to_owned(), "$123.45".to_owned()]);
        assert_eq!(
            plain().render(&grid),
            "NAME           SPENT\ntrain          $1.00\na\\x1b[2J\\nb  $123.45"
        );
    }

    #[test]
    fn colour_only_where_it_is_wanted() {
        let mut grid = Grid::plain(&[]);
        grid.row(["failed".to_owned()]);
        assert_eq!(plain().render(&grid), "failed");
        let colored = Output { color: true, ..plain() };
        assert!(colored.render(&grid).contains("\x1b["));
        assert_eq!(plain().bold("x"), "x");
    }
}
