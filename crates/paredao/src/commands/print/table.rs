//! Plain tables: columns as wide as their widest cell, two blanks between them.

use std::fmt::Write as _;

/// A table of `N` columns.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table with these headings.
    pub(super) fn new(headings: [&str; N]) -> Self {
        Self {
            rows: vec![headings.map(str::to_owned)],
        }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: [&str; N]) {
        self.rows.push(cells.map(str::to_owned));
    }

    /// The table as text. Columns of numbers stand to the right.
    pub(super) fn text(&self) -> String {
        let columns: Vec<(usize, bool)> = (0..N).map(|at| self.column(at)).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, &(width, is_number)) in row.iter().zip(&columns) {
                let _ = if is_number {
                    write!(line, "{cell:>width$}  ")
                } else {
                    write!(line, "{cell:width$}  ")
                };
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
        out
    }

    /// The width of a column, and whether it holds numbers only.
    fn column(&self, at: usize) -> (usize, bool) {
        let cells = || self.rows.iter().filter_map(|row| row.get(at));
        let width = cells().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let is_number = |cell: &String| cell.chars().all(|c| c.is_ascii_digit() || c == '.');
        (width, self.rows.len() > 1 && cells().skip(1).all(is_number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_to_the_left_and_numbers_to_the_right() {
        let mut table = Table::new(["name", "votes"]);
        table.row(["João", "7"]);
        table.row(["Ana", "1234567"]);
        assert_eq!(
            table.text(),
            "name    votes\nJoão        7\nAna   1234567\n"
        );
    }
}
