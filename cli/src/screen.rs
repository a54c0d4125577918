//! A terminal that is drawn over again and again.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::exit::Failure;

/// The whole terminal.
pub(crate) struct Screen {
    height: usize,
    width: usize,
    drawn: u32,
}

/// Asking for the size starts a process; a person who resizes a window can
/// wait for a few frames.
const FRAMES_PER_SIZE: u32 = 10;

impl Screen {
    /// As large as the terminal is now.
    pub(crate) fn new() -> Self {
        let (height, width) = size();
        Self { height, width, drawn: 0 }
    }

    /// Lines of the terminal.
    pub(crate) fn height(&self) -> usize {
        self.height
    }

    /// Shows this text instead of what was there. The first time the screen is
    /// cleared; after that only what differs is seen to change. What does not
    /// fit is cut off: a line too many would scroll everything away.
    pub(crate) fn draw(&mut self, text: &str) -> Result<(), Failure> {
        if self.drawn > 0 && self.drawn.is_multiple_of(FRAMES_PER_SIZE) {
            (self.height, self.width) = size();
        }
        let mut frame = String::with_capacity(text.len() + 256);
        frame.push_str(if self.drawn == 0 { "\x1b[2J\x1b[H" } else { "\x1b[H" });
        self.drawn = self.drawn.wrapping_add(1).max(1);
        for line in text.lines().take(self.height.saturating_sub(1)) {
            frame.push_str(&fit(line, self.width));
            frame.push_str("\x1b[K\n");
        }
        frame.push_str("\x1b[J");
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(frame.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|error| Failure::output(&error))
    }
}

/// At most `width` characters; colours take no room.
fn fit(line: &str, width: usize) -> String {
    let mut cut = String::with_capacity(line.len());
    let mut room = width;
    let mut in_escape = false;
    for c in line.chars() {
        if in_escape || c == '\x1b' {
            in_escape = c != 'm';
            cut.push(c);
        } else if room > 0 {
            room -= 1;
            cut.push(c);
        }
    }
    cut
}

/// Lines and columns. `stty` asks the kernel for us; where it cannot, 24 by 80
/// is what every terminal has had since the VT100.
fn size() -> (usize, usize) {
    let answer = Command::new("stty")
        .arg("size")
        .stdin(Stdio::inherit())
        .stderr(Stdio::null())
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    read_size(&answer).unwrap_or((24, 80))
}

fn read_size(answer: &str) -> Option<(usize, usize)> {
    let (lines, columns) = answer.trim().split_once(' ')?;
    let (lines, columns) = (lines.parse().ok()?, columns.parse().ok()?);
    (lines >= 10 && columns >= 20).then_some((lines, columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_take_no_room_and_are_ended() {
        assert_eq!(fit("\x1b[1mabcdef\x1b[0m", 3), "\x1b[1mabc\x1b[0m");
        assert_eq!(fit("abc", 3), "abc");
    }

    #[test]
    fn sizes() {
        assert_eq!(read_size("50 132\n"), Some((50, 132)));
        assert_eq!(read_size("0 0\n"), None, "a terminal that does not know");
        assert_eq!(read_size(""), None);
    }
}
