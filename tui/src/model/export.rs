//! What is on the screen -> a file: JSON a line, CSV, or the command line that shows the same.

use std::sync::Arc;

use prost::Message as _;
use weir_proto::flow::Flow;

use super::connections::decode;
use super::row::{Column, Row, Show, Subject};

/// A form to export in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The messages as JSON, one a line.
    Json,
    /// The table.
    Csv,
    /// A command that shows the same.
    CommandLine,
}

/// The forms: key, name and what follows the dot of the file's name.
pub const FORMS: &[(char, &str, &str, Form)] = &[
    ('j', "json", "json", Form::Json),
    ('c', "csv", "csv", Form::Csv),
    ('l', "command", "sh", Form::CommandLine),
];

/// What a file will hold. It is put into words away from the screen's loop: thousands of rows take seconds.
#[derive(Clone, Debug)]
pub struct Export {
    /// In which form.
    pub form: Form,
    /// The rows.
    pub rows: Vec<Arc<Row>>,
    /// Their columns.
    pub columns: &'static [Column],
    /// The command that shows the same.
    pub command: String,
}

impl Export {
    /// The file's contents.
    #[must_use]
    pub fn contents(&self) -> String {
        match self.form {
            Form::Json => json(&self.rows, self.columns),
            Form::Csv => csv(&self.rows, self.columns),
            Form::CommandLine => format!("{}\n", self.command),
        }
    }

    /// What the file's name ends with.
    #[must_use]
    pub fn ending(&self) -> &'static str {
        FORMS.iter().find(|(.., form)| *form == self.form).map_or("txt", |(_, _, ending, _)| *ending)
    }
}

/// One message or one row a line.
fn json(rows: &[Arc<Row>], columns: &[Column]) -> String {
    let mut out = String::new();
    for row in rows {
        let line = match &row.subject {
            Subject::Connection(call) => weir_proto::json::print(&decode(call)),
            Subject::Flow(encoded) => {
                weir_proto::json::print(&Flow::decode(&encoded[..]).unwrap_or_default())
            }
            Subject::Group(_) => {
                let cells = columns.iter().zip(texts(row, columns));
                let named = cells.filter(|(column, _)| !column.title.is_empty());
                let fields = named.map(|(column, text)| (column.title.to_lowercase(), text.into()));
                serde_json::Value::Object(fields.collect()).to_string()
            }
        };
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// The table by RFC 4180, with a header. A cell that a spreadsheet would take for a formula is led in by an apostrophe.
fn csv(rows: &[Arc<Row>], columns: &[Column]) -> String {
    let mut out = String::new();
    let mut record = |cells: Vec<String>| {
        let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        out.push_str(&cells.join(","));
        out.push_str("\r\n");
    };
    let title = |column: &Column| if column.title.is_empty() { "MARK" } else { column.title }.to_owned();
    record(columns.iter().map(title).collect());
    for row in rows {
        record(texts(row, columns));
    }
    out
}

/// The cells as text. An age is only right while it is looked at: in a file, the time it counts from stands there.
fn texts(row: &Row, columns: &[Column]) -> Vec<String> {
    let text = |(at, column): (usize, &Column)| match column.show {
        Show::Age => {
            let nanos = i128::from(row.cells.rank(at));
            jiff::Timestamp::from_nanosecond(nanos).map_or_else(|_| String::new(), |time| time.to_string())
        }
        Show::Text | Show::Port | Show::Number => row.cells.text(at).to_owned(),
    };
    columns.iter().enumerate().map(text).collect()
}

fn quoted(cell: &str) -> String {
    let is_formula = cell.len() > 1 && cell.starts_with(['=', '+', '-', '@']);
    let cell = if is_formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// A word that a shell takes as it is.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-=,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stay_cells() {
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted("=HYPERLINK(1)"), "'=HYPERLINK(1)");
        assert_eq!(quoted("-"), "-");
        assert_eq!(shell_word("it's"), "'it'\\''s'");
    }
}
